"""Estimates what a campaign would take before it is submitted: models, artifacts, time and disk."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nnlite.backends import CPU_BACKENDS, format_of, further_formats
from nnlite.campaigns.request import Request
from nnlite.catalog.model import CatalogModel
from nnlite.results.reading import Database, Row, rows_of
from nnlite.settings import Settings
from nnlite.vocabulary import PASSES, ArtifactFormat, EvaluateOn, Mode, ModelFormat, Precision

#: Fewer attempts than this are no basis for an estimate.
_FEWEST = 3
#: Where nothing was converted or measured yet: the slower machine of docs/performance.md, seconds.
_CONVERSION_S = 12.0
_MEASUREMENT_S = {Mode.QUICK: 4.0, Mode.STANDARD: 6.0, Mode.FULL: 65.0}
#: Of one sample of an evaluation where nothing was measured yet, seconds: a guess.
_INFERENCE_S = 0.02
#: Bytes of an artifact where there is none to go by, of docs/operate/housekeeping.md; other formats: as fp32.
_ARTIFACT_BYTES = {
    Precision.FP32: 6_161_100,
    Precision.FP16: 3_080_550,
    Precision.DYNAMIC: 1_540_275,
    Precision.INT8: 1_540_275,
    Precision.MIXED: 1_540_275,
}
#: Bytes of a model's rows, and of a measurement's rows and report: from there too.
_MODEL_BYTES, _MEASUREMENT_BYTES = 6_100, 32_500


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate of a campaign: models, artifacts, measurements, time and disk."""

    #: Models that would be converted or are converted already.
    models: int
    skipped: int
    #: One per model and precision, and one for each other format that a backend executes.
    artifacts: int
    #: Of these, that are there from other campaigns.
    converted: int
    #: One per artifact, pool, backend that executes it, number of threads and repeat.
    measurements: int
    #: Of accuracy on devices: one per artifact, pool and backend that executes it.
    evaluations: int
    #: Of accuracy on hosts, which converters make: one per artifact.
    host_evaluations: int
    #: Of one converter, these evaluations included.
    conversion_s: float
    #: Of one device that measures and evaluates everything of one pool.
    measurement_s: float
    #: Artifacts, reports and rows that would be added.
    size_bytes: int
    #: Conversions and measurements of this installation that times are estimated from; 0: it has too few.
    basis: int


class _Artifact(NamedTuple):
    identity: str
    #: None: that of a pre-built file, which is not known.
    precision: Precision | None
    format: ArtifactFormat


def estimate(
    database: Database, request: Request, models: Sequence[CatalogModel], settings: Settings
) -> Estimate:
    """Return the estimate for `request` and its models, from what `database` has of earlier campaigns.

    An artifact counts as converted whichever versions of the libraries converted it.
    """
    usable = [model for model in models if model.skipped is None]
    wanted = [artifact for model in usable for artifact in _artifacts(model, request)]
    known = _known(database, request, usable)
    missing = [artifact for artifact in wanted if artifact not in known]
    converting = {artifact.identity for artifact in missing}
    of_pool = request.repeat * sum(_kinds(request, artifact.format) for artifact in wanted)
    of_times = {"mode": request.mode, "longer": [*PASSES, "evaluate_on"]}
    times = {row["kind"]: row for row in rows_of(database, _TIMES, of_times)}
    conversion_s, conversions = _mean(times.get("conversion"), _CONVERSION_S)
    measurement_s, measured = _mean(times.get("benchmark"), _MEASUREMENT_S[request.mode])
    evaluations = _evaluations(request, wanted)
    samples_s = _samples_s(database, request)
    evaluation_s = min(settings.evaluation_device_max_s, samples_s)
    on_host = _evaluated_on_host(database, request, wanted)
    sizes = {(row["precision"], row["format"]): float(row["bytes"]) for row in rows_of(database, _SIZES, {})}
    artifact_bytes = 0.0
    for _, known_precision, artifact_format in missing:
        precision = known_precision or Precision.FP32
        artifact_bytes += sizes.get((precision, artifact_format), _ARTIFACT_BYTES[precision])
    measurements = of_pool * len(request.pools)
    return Estimate(
        models=len(usable),
        skipped=len(models) - len(usable),
        artifacts=len(wanted),
        converted=len(wanted) - len(missing),
        measurements=measurements,
        evaluations=evaluations * len(request.pools),
        host_evaluations=on_host.total(),
        conversion_s=len(converting) * conversion_s
        # Of each model also PyTorch's own accuracy.
        + sum(min(settings.conversion.evaluation_max_s, (each + 1) * samples_s) for each in on_host.values()),
        measurement_s=_seconds(request, of_pool, measurement_s) + evaluations * evaluation_s,
        size_bytes=round(artifact_bytes + len(usable) * _MODEL_BYTES + measurements * _MEASUREMENT_BYTES),
        basis=min(conversions, measured),
    )


def _artifacts(model: CatalogModel, request: Request) -> list[_Artifact]:
    """Return the artifacts that a request makes of a model."""
    if model.model_format is ModelFormat.PREBUILT:
        return [_Artifact(model.identity, None, ArtifactFormat.TFLITE)]
    made = [_Artifact(model.identity, each, ArtifactFormat.TFLITE) for each in request.precisions]
    further = further_formats(request.backends)
    return made + [_Artifact(model.identity, Precision.FP32, each) for each in further]


def _kinds(request: Request, artifact_format: ArtifactFormat) -> int:
    """Return how many measurements one run of an artifact of this format has."""
    executing = [each for each in request.backends if format_of(each) is artifact_format]
    return sum(max(1, len(request.threads)) if each in CPU_BACKENDS else 1 for each in executing)


def _seconds(request: Request, measurements: int, measurement_s: float) -> float:
    """Return the time of so many measurements and their passes, which take as long besides their seconds."""
    seconds = measurements * measurement_s
    for stage, pass_s in request.passes.items():
        seconds += measurements // (request.repeat if PASSES[stage] else 1) * (pass_s + measurement_s)
    return seconds


def _evaluations(request: Request, artifacts: Sequence[_Artifact]) -> int:
    """Return how many evaluations the devices of one pool make; files of other formats are not evaluated."""
    if request.evaluate_on is not EvaluateOn.DEVICE:
        return 0
    executing = [each for each in request.backends if format_of(each) is ArtifactFormat.TFLITE]
    return len(executing) * sum(artifact.format is ArtifactFormat.TFLITE for artifact in artifacts)


def _samples_s(database: Database, request: Request) -> float:
    """Return the time of one evaluation, as its samples take the median latency of what was measured."""
    if request.evaluation is None:
        return 0.0
    sample_s, _ = _mean(next(iter(rows_of(database, _INFERENCE, {})), None), _INFERENCE_S)
    return request.evaluation.samples * sample_s


def _evaluated_on_host(database: Database, request: Request, artifacts: Sequence[_Artifact]) -> Counter[str]:
    """Return how many artifacts of each model converters evaluate: those whose accuracy is not known yet."""
    if request.evaluation is None:
        return Counter()
    wanted = {each for each in artifacts if each.format is ArtifactFormat.TFLITE}
    identities = list({each.identity for each in wanted})
    parameters = {"identities": identities, "data": request.evaluation.path}
    known = {(row["identity"], row["precision"]) for row in rows_of(database, _EVALUATED, parameters)}
    # The precision of a pre-built file is not known: any is its own.
    ready = {identity for identity, _ in known}
    return Counter(
        each.identity
        for each in wanted
        if not (
            each.identity in ready if each.precision is None else (each.identity, each.precision) in known
        )
    )


def _known(database: Database, request: Request, models: Sequence[CatalogModel]) -> set[_Artifact]:
    """Return those of the models' artifacts that are there."""
    prebuilt = {model.identity for model in models if model.model_format is ModelFormat.PREBUILT}
    calibration = request.calibration
    parameters = {
        "identities": list({model.identity for model in models}),
        "kind": calibration and calibration.kind,
        "path": calibration and calibration.path,
        "integers": request.int8_io == "integer",
    }
    return {
        _Artifact(
            row["identity"],
            None if row["identity"] in prebuilt else Precision(row["precision"]),
            ArtifactFormat(row["format"]),
        )
        for row in rows_of(database, _ARTIFACTS, parameters)
    }


def _mean(times: Row | None, otherwise: float) -> tuple[float, int]:
    """Return the mean of one unit, and the number of attempts that it is from; 0: it is assumed."""
    if times is None or times["number"] < _FEWEST:
        return otherwise, 0
    return float(times["seconds"]), times["number"]


# int8 and mixed depend on their calibration, int8 on the type of its inputs too.
_ARTIFACTS = """
SELECT DISTINCT identity, precision, substring(path FROM '[^.]*$') AS format FROM artifact
WHERE identity = ANY(:identities) AND (
    precision NOT IN ('int8', 'mixed') OR calibration IS NULL
    OR calibration->>'kind' = :kind AND calibration->>'path' IS NOT DISTINCT FROM CAST(:path AS text)
       AND (precision = 'mixed' OR (inputs#>>'{tensors,0,dtype}' = 'int8') = :integers)
)
"""
# The last ones: a machine or a release may have become faster.
_TIMES = """
(SELECT 'conversion' AS kind, count(*) AS number, avg(seconds) AS seconds FROM (
    SELECT extract(epoch FROM a.ended_at - a.started_at)::float8 AS seconds
    FROM attempt a JOIN conversion v ON v.id = a.work_id
    WHERE a.kind = 'conversion' AND a.outcome IN ('done', 'model', 'runtime') AND v.cached IS NOT TRUE
    ORDER BY a.ended_at DESC LIMIT 500
) conversions)
UNION ALL
(SELECT 'benchmark', count(*), sum(seconds) / nullif(sum(measurements), 0) FROM (
    SELECT extract(epoch FROM a.ended_at - a.started_at)::float8 AS seconds,
           (SELECT count(*) FROM measurement x WHERE x.benchmark_id = b.id) AS measurements
    FROM attempt a JOIN benchmark b ON b.id = a.work_id JOIN campaign c ON c.id = b.campaign_id
    WHERE a.kind = 'benchmark' AND a.outcome = 'done' AND c.mode = :mode
      AND NOT c.request ?| CAST(:longer AS text[])
    ORDER BY a.ended_at DESC LIMIT 500
) benchmarks)
"""
_INFERENCE = """
SELECT count(*) AS number, avg(median_ns)::float8 / 1e9 AS seconds FROM (
    SELECT median_ns FROM measurement WHERE median_ns IS NOT NULL ORDER BY created_at DESC LIMIT 500
) newest
"""
_EVALUATED = """
SELECT DISTINCT a.identity, a.precision FROM artifact a JOIN evaluation e ON e.artifact_id = a.id
WHERE a.identity = ANY(:identities) AND e.data = :data AND e.reason IS NULL
"""
_SIZES = """
SELECT precision, format, avg(size_bytes)::float8 AS bytes FROM (
    SELECT precision, substring(path FROM '[^.]*$') AS format, size_bytes
    FROM artifact ORDER BY created_at DESC LIMIT 2000
) newest GROUP BY precision, format
"""
