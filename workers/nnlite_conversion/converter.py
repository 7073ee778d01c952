"""Runs a claimed conversion: looks up the cache, converts in a child process, stores the artifacts.

A failed conversion raises `Failure`; `nnlite.queue.retry.decide` decides whether it is retried, and
`nnlite.worker.attempt` writes that. A refused precision is stored and not tried again. What the child does is
in `pipeline`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnlite.artifacts.calibration import Calibration
from nnlite.artifacts.store import OUTPUT_SUFFIX, ArtifactGoneError, ArtifactStore, StoreError, content_path
from nnlite.catalog.model import ModelSpec
from nnlite.db.rows import from_row, to_row
from nnlite.db.tables import Artifact, RefusedPrecision
from nnlite.errors import Failure, FailureClass
from nnlite.host.cores import Cores
from nnlite.host.quiet import ConverterLock
from nnlite.queue.leases import Claim
from nnlite.results.recording import cached_artifacts, known_refusals, record_skipped
from nnlite.settings import Settings
from nnlite.vocabulary import ArtifactFormat, EvaluateOn, ParityState, Stage, WorkState
from nnlite.worker.attempt import Heartbeat, Result, WorkerContext
from nnlite_conversion.cache_key import format_tag
from nnlite_conversion.evaluation import evaluations_of, fetch_submitted, to_evaluate
from nnlite_conversion.isolation.child import Fork
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.outcome import (
    ConversionJob,
    ConversionOutcome,
    ConvertedArtifact,
    Gpu,
    KnownArtifact,
    Parity,
)
from nnlite_conversion.plan import CacheLookup, ConversionPlan, plan_of, spec_of
from nnlite_conversion.result import ModelResult


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Runs conversions for one worker process."""

    #: Returns this process's context.
    context: Callable[[], WorkerContext]
    store: ArtifactStore
    cores: Cores
    #: Forks the processes of conversions; None: this process does.
    fork: Fork | None = None
    #: Whether that can be done yet; what is in the cache does not wait for it.
    can_fork: Callable[[], bool] = lambda: True
    #: GPU that children run reference passes on; None: the CPU.
    gpu: Gpu | None = None

    def run(self, claim: Claim) -> Result:
        """Make one attempt at a conversion and return its result.

        Raises:
            Failure: of class model, converter or infrastructure.
            LeaseLostError: the row is no longer this attempt's.
            Stopped: the worker is stopping.
        """
        context = self.context()
        spec = spec_of(context.engine, claim)
        plan = plan_of(claim.payload, spec)
        try:
            cached = self._look_up(context, plan)
            result = ModelResult(claim, plan, cached)
            missing = cached.to_convert(plan) or cached.formats_to_convert(plan)
            if missing and (skipped := self._convert(context, result, spec)) is not None:
                return skipped
            self._evaluate(context, result, spec)
            return result.as_result()
        except StoreError as error:
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, str(error)) from error

    def _look_up(self, context: WorkerContext, plan: ConversionPlan) -> CacheLookup:
        """Return the artifacts and refused precisions of earlier conversions of the same model."""
        keys = {*plan.distinct_keys, plan.fp32_key}
        artifacts = [row for row in cached_artifacts(context.engine, list(keys)) if self._is_stored(row)]
        return CacheLookup(
            artifacts={row.cache_key: row for row in artifacts},
            refused={
                row.cache_key: row
                for row in known_refusals(context.engine, list(keys))
                # A crash of the quantizer, or a limit exceeded, may be the machine's: it is tried again.
                if row.converter in {plan.refused_by, *map(format_tag, plan.format_keys)}
                and row.failure_class != FailureClass.CONVERTER
            },
        )

    def _is_stored(self, row: Artifact) -> bool:
        return self.store.holds(row.path, row.size_bytes) and all(
            map(self.store.holds, row.reference_outputs)
        )

    def _job(self, context: WorkerContext, claim: Claim, spec: ModelSpec) -> ConversionJob:
        """Return the job of a model, with nothing to do yet."""
        return ConversionJob(
            model=spec,
            model_file=self._fetch_model_file(spec),
            precisions=(),
            max_parameters=claim.payload["max_parameters"],
            variable_size=context.settings.catalog.variable_size,
            gpu=self.gpu,
        )

    def _convert(self, context: WorkerContext, result: ModelResult, spec: ModelSpec) -> Result | None:
        """Convert what is not in the cache, and store it; return a result if the model is skipped."""
        claim, plan, cached = result.claim, result.plan, result.cached
        job = replace(
            self._job(context, claim, spec),
            precisions=cached.to_convert(plan),
            formats=cached.formats_to_convert(plan),
            calibration=plan.calibration,
            calibration_file=self._fetch_calibration(plan.calibration),
            int8_io=plan.int8_io,
            fp32=self._fetch_fp32(cached.artifacts.get(plan.fp32_key)),
        )
        heartbeat = Heartbeat(context, claim)
        with (
            self._ticking(context, heartbeat) as tick,
            convert(
                job,
                context.settings.conversion,
                workdir=conversions_dir(context.settings),
                tick=tick,
                fork=self.fork,
            ) as outcome,
        ):
            if outcome.skipped is not None:
                return Result(
                    write=lambda connection: record_skipped(connection, claim, outcome.parameters),
                    state=WorkState.SKIPPED,
                    reason=outcome.skipped,
                    details=_details(outcome),
                )
            heartbeat.send(Stage.STORE)  # so that storing has a whole lease
            rows = [self._store(artifact, outcome, plan, job) for artifact in outcome.artifacts]
            result.created = CacheLookup(
                artifacts={row.cache_key: row for row in rows},
                refused={row.cache_key: row for row in _refusals(outcome, plan)},
            )
            result.details = _details(outcome)
        return None

    def _evaluate(self, context: WorkerContext, result: ModelResult, spec: ModelSpec) -> None:
        """Measure the accuracy of the model's artifacts, if it is wanted and not known."""
        data, place = result.plan.evaluation, result.plan.evaluate_on
        if data is None or not (artifacts := to_evaluate(context.engine, data, result.artifacts, place)):
            return
        job = self._job(context, result.claim, spec)
        with self._ticking(context, Heartbeat(context, result.claim)) as tick:
            result.evaluations = evaluations_of(
                job,
                data,
                artifacts,
                store=self.store,
                settings=context.settings.conversion,
                workdir=conversions_dir(context.settings),
                tick=tick,
                fork=self.fork,
                kept_mb=context.settings.evaluation_device_mb if place is EvaluateOn.DEVICE else 0,
            )

    @contextmanager
    def _ticking(self, context: WorkerContext, heartbeat: Heartbeat) -> Iterator[Callable[[Stage], bool]]:
        """Yield the tick of a child: it renews the lease, and returns whether the child may run now."""
        with ConverterLock(context.settings.quiet, self.cores) as lock:

            def tick(stage: Stage) -> bool:
                heartbeat.tick(stage)
                return self.can_fork() and lock.tick()

            yield tick

    def _fetch_calibration(self, calibration: Calibration | None) -> Path | None:
        """Fetch the user's calibration data, which `submit` has put into the store.

        Raises:
            Failure: class `infrastructure`: the file is missing or damaged; submitting again restores it.
        """
        if calibration is None or calibration.path is None:
            return None
        return fetch_submitted(self.store, calibration.path, f"calibration data {calibration.name}")

    def _fetch_fp32(self, row: Artifact | None) -> KnownArtifact | None:
        """Fetch the cached fp32 artifact to quantize from; None: there is none, or its file is damaged."""
        if row is None:
            return None
        try:
            return KnownArtifact(
                path=self.store.fetch(row.path),
                rewrites=tuple(row.rewrites),
                graph_operators=row.graph_operators,
                parity=from_row(Parity, {"state": row.parity_state, **row.parity}) if row.parity else None,
            )
        except ArtifactGoneError:
            return None

    def _fetch_model_file(self, spec: ModelSpec) -> Path | None:
        """Fetch the model's own file, which `submit` has put into the store."""
        if spec.weights_suffix is None:
            return None
        try:
            return self.store.fetch(content_path(spec.weights, spec.weights_suffix))
        except ArtifactGoneError as error:
            reason = f"{error}; submit the campaign again, and the file is stored again"
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.FETCH, reason) from error

    def _store(
        self,
        artifact: ConvertedArtifact,
        outcome: ConversionOutcome,
        plan: ConversionPlan,
        job: ConversionJob,
    ) -> Artifact:
        """Put the artifact's files into the store and return its row."""
        job_columns = {
            "cache_key": plan.key_of(artifact.precision, artifact.format),
            "identity": plan.identity,
            "converter": _tag(artifact.format) or plan.converter,
            "seed": job.seed,
            "calibration": _provenance(artifact, job),
            "path": self.store.put(artifact.path, f".{artifact.format}", own_sha256=artifact.sha256),
            "reference_outputs": [self.store.put(path, OUTPUT_SUFFIX) for path in artifact.reference_outputs],
        }
        tensors = {
            "inputs": {"tensors": [to_row(tensor) for tensor in artifact.inputs]},
            "outputs": {"tensors": [to_row(tensor) for tensor in artifact.outputs]},
            "parity_state": artifact.parity.state if artifact.parity else ParityState.UNKNOWN,
        }
        # All other columns are fields of the outcome and of the artifact.
        columns = to_row(artifact)
        del columns["kept_as_floats"], columns["format"]
        return from_row(Artifact, {**to_row(outcome), **columns, **tensors, **job_columns})


def conversions_dir(settings: Settings) -> Path:
    """Return the folder of a worker's running conversions."""
    return settings.home / "conversions"


def _refusals(outcome: ConversionOutcome, plan: ConversionPlan) -> list[RefusedPrecision]:
    return [
        RefusedPrecision(
            cache_key=plan.key_of(refused.precision, refused.format),
            # Of another format there is one file, whatever the precisions are.
            precision=(refused.format if _tag(refused.format) else refused.precision).value,
            converter=_tag(refused.format) or plan.refused_by,
            stage=refused.stage.value,
            failure_class=refused.failure_class.value,
            reason=refused.reason,
            details=dict(refused.details),
        )
        for refused in outcome.refused
    ]


def _tag(artifact_format: ArtifactFormat) -> str | None:
    """Return the column `converter` of a format's files; None: that of `.tflite` files is the plan's."""
    return None if artifact_format is ArtifactFormat.TFLITE else format_tag(artifact_format)


def _provenance(artifact: ConvertedArtifact, job: ConversionJob) -> dict[str, Any] | None:
    """Return the calibration that an artifact was made with; None where it was not calibrated."""
    if not artifact.calibrated_on or job.calibration is None:
        return None
    return {
        **job.calibration.as_dict(),
        "samples": artifact.calibrated_on,
        "provenance": job.calibration.provenance(job.model.dataset),
        **({"kept_as_floats": dict(Counter(artifact.kept_as_floats))} if artifact.kept_as_floats else {}),
    }


def _details(outcome: ConversionOutcome) -> dict[str, Any]:
    return {
        "timings_ns": {stage.value: ns for stage, ns in outcome.timings_ns.items()},
        "peak_rss_kb": outcome.peak_rss_kb,
        **({"absent_modules": list(outcome.absent_modules)} if outcome.absent_modules else {}),
        **({"accelerated": asdict(outcome.accelerated)} if outcome.accelerated else {}),
    }
