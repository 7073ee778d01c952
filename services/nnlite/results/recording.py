"""Writes the results of attempts: artifacts, refused precisions, skipped models, reports and measurements.

Every function writes in the transaction that completes the attempt, so that a worker that has lost its lease
writes nothing.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, bindparam, select, text
from sqlalchemy.dialects.postgresql import Insert, insert

from nnlite.backends import CPU_BACKENDS, format_of
from nnlite.db.engine import autocommit, storable
from nnlite.db.rows import from_row, row_id, to_row
from nnlite.db.tables import Artifact, DeviceEvaluation, Measurement, OperatorTime, RefusedPrecision
from nnlite.queue.app import benchmark_queue
from nnlite.queue.leases import Claim
from nnlite.queue.messages import Message
from nnlite.reports.schema import (
    BenchmarkReport,
    Delegation,
    DeviceContext,
    Energy,
    Gating,
    Initialization,
    Latency,
    MeasurementReport,
    Profile,
)
from nnlite.results.canaries import watch_canaries
from nnlite.results.evaluations import record_evaluations
from nnlite.results.manifest import store_manifests
from nnlite.results.repeats import plan_next_run, run_id
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, WorkKind


def known_refusals(engine: Engine, cache_keys: Sequence[str]) -> list[RefusedPrecision]:
    """Return the refused precisions of earlier conversions with `cache_keys`."""
    with autocommit(engine) as connection:
        rows = connection.execute(_REFUSED, {"keys": list(cache_keys)})
        return [from_row(RefusedPrecision, dict(row)) for row in rows.mappings()]


def cached_artifacts(engine: Engine, cache_keys: Sequence[str]) -> list[Artifact]:
    """Return the artifacts with `cache_keys`."""
    with autocommit(engine) as connection:
        rows = connection.execute(_CACHED, {"keys": list(cache_keys)})
        return [from_row(Artifact, dict(row)) for row in rows.mappings()]


def record_conversion(
    connection: Connection,
    claim: Claim,
    model: "ConvertedModel",
    artifacts: Sequence[Artifact],
    refused: Sequence[RefusedPrecision] = (),
) -> list[Message]:
    """Write artifacts and refused precisions, what is now known of the model, and the benchmarks to do.

    Args:
        artifacts: those created by this attempt come first; empty: every precision was refused.

    Returns:
        The messages of the benchmarks.
    """
    connection.execute(_FORGET_REFUSALS, {"id": claim.id})
    if refused:
        connection.execute(
            insert(RefusedPrecision),
            [{"conversion_id": claim.id, **storable(to_row(refusal))} for refusal in refused],
        )
    if not artifacts:
        connection.execute(_NOTHING_MADE, {"id": claim.id, "cached": model.cached})
        return []
    if not model.cached:
        rows = [{"id": artifact.id, **to_row(artifact)} for artifact in artifacts]
        connection.execute(_UPSERT_ARTIFACT, rows)
    first = artifacts[0]
    formats = set(map(format_of, model.backends))
    benchmarks = [
        (run_id(claim.campaign_id, artifact.id, pool, 1), artifact.id, pool)
        for artifact in artifacts
        for pool in model.pools
        if artifact.format in formats
    ]
    connection.execute(
        _CONVERTED,
        {
            "id": claim.id,
            "cached": model.cached,
            "timings": None if model.cached else orjson.dumps(first.timings_ns).decode(),
            "peak": None if model.cached else first.peak_rss_kb,
            "parameters": first.parameters,
            "shape": first.input_shape,
            "state_dict": first.state_dict_sha256,
            "campaign": claim.campaign_id,
            "priority": model.priority,
            "rows": [row for row, _, _ in benchmarks],
            "artifacts": [artifact for _, artifact, _ in benchmarks],
            "pools": [pool for _, _, pool in benchmarks],
        },
    )
    return [
        Message(
            kind=WorkKind.BENCHMARK,
            row_id=row,
            display_args=(model.name, pool),
            queue=benchmark_queue(pool),
            priority=model.priority,
        )
        for row, _, pool in benchmarks
    ]


@dataclass(frozen=True, kw_only=True)
class ConvertedModel:
    """Columns of the campaign and model of a finished conversion."""

    name: str
    priority: int
    pools: Sequence[str]
    backends: Sequence[Backend] = (Backend.CPU,)
    #: Every artifact was in the cache.
    cached: bool


def record_skipped(connection: Connection, claim: Claim, parameters: int | None) -> list[Message]:
    """Write the parameter count of a model that its conversion skipped."""
    connection.execute(_PARAMETERS, {"id": claim.id, "parameters": parameters})
    return []


def record_benchmark(
    connection: Connection, claim: Claim, report: BenchmarkReport, settings: MeasurementSettings
) -> list[Message]:
    """Write the report of a benchmark, its measurements with manifests, and the run that follows, if any.

    If its canaries show that the device has changed, what was measured since gets another run too. There are
    no messages to send.
    """
    whole = report.model_dump_json(exclude=_IN_MEASUREMENTS)
    connection.execute(_REPORTED, {"id": claim.id, "report": whole})
    rows = [measurement_row(claim, report.device, measurement) for measurement in report.measurements]
    connection.execute(_UPSERT_MEASUREMENT, rows)
    for row, measured in zip(rows, report.measurements, strict=True):
        _record_operators(connection, row["id"], measured.profile)
    record_evaluations(connection, list(_device_evaluations(claim, report)))
    store_manifests(connection, claim.id)
    plan_next_run(connection, claim.id, [measured.verdict for measured in report.measurements], settings)
    watch_canaries(connection, report, settings)
    return []


def measurement_row(claim: Claim, device: DeviceContext, report: MeasurementReport) -> dict[str, Any]:
    """Return the columns of one measurement."""
    # A campaign without numbers of threads has one measurement of each backend.
    asked = report.backend in CPU_BACKENDS and claim.payload["threads"]
    return {
        **dict.fromkeys(_MEASURED),
        **reported_columns(report),
        "id": row_id("measurement", claim.id, report.backend, *([report.threads] if asked else [])),
        "benchmark_id": claim.id,
        "device_id": row_id("device", device.name),
        "attempt": claim.attempt,
        "kind": device.kind,
    }


def reported_columns(report: MeasurementReport) -> dict[str, Any]:
    """Return the columns that a measurement has from its report; most have the name of one of its fields."""
    parts = (report, report.latency, report.delegation, report.gating, report.energy, report.initialization)
    fields = {
        name: getattr(part, name)
        for part in parts
        if part is not None
        for name in _MEASURED & type(part).model_fields.keys()
    }
    return {
        **dict.fromkeys(_FROM_REPORT),
        **fields,
        "reasons": [str(reason) for reason in report.reasons],
        "cores": list(report.cores) or None,
        "clocks": report.clocks and report.clocks.policy,
        "conditions": [str(condition) for condition in report.conditions] if report.clocks else None,
        "delegate_refusals": [one.model_dump() for one in report.delegate_refusals] or None,
        "energy_method": report.energy and report.energy.method,
        "first_ns": report.first_inference_ns,
        "samples_ns": list(report.samples_ns),
        "disturbance": report.disturbance and report.disturbance.model_dump(),
        "memory": report.memory and report.memory.model_dump(),
        "counters": report.counters and report.counters.model_dump(),
        "sustained": report.sustained and report.sustained.model_dump(mode="json"),
        "profile": report.profile and report.profile.model_dump(exclude={"operators"}),
    }


def _device_evaluations(claim: Claim, report: BenchmarkReport) -> Iterator[DeviceEvaluation]:
    """Yield a row for each accuracy that a benchmark has measured on its device."""
    for measured in report.measurements:
        if measured.accuracy is not None:
            yield DeviceEvaluation(
                **measured.accuracy.model_dump(),
                artifact_id=uuid.UUID(claim.payload["evaluation"]["artifact_id"]),
                data=claim.payload["evaluation"]["data"],
                device_id=row_id("device", report.device.name),
                backend=measured.backend.value,
                runtime=measured.executed_by,
            )


def _record_operators(connection: Connection, measurement: uuid.UUID, profile: Profile | None) -> None:
    """Write the operators of a profile, if any; their columns have the names of its fields."""
    connection.execute(_FORGET_OPERATORS, {"id": measurement})
    if profile is None or not profile.operators:
        return
    rows = [{"measurement_id": measurement, **operator.model_dump()} for operator in profile.operators]
    connection.execute(insert(OperatorTime), rows)


#: Fields of a report that are long, and columns of a measurement.
_IN_MEASUREMENTS: dict[str, Any] = {
    "measurements": {
        "__all__": {
            "samples_ns": True,
            "gating": {"canaries_ns", "slice_runs", "slice_first_ns"},
            "profile": {"operators"},
            "sustained": {"bins", "thermal"},
        }
    }
}
#: Columns of a measurement that this process writes.
_MEASURED = {column.name for column in Measurement.__table__.columns if column.server_default is None}
#: Those of them that have the name of a field of a report or of one of its parts.
_FROM_REPORT = {
    name
    for part in (MeasurementReport, Latency, Delegation, Gating, Energy, Initialization)
    for name in part.model_fields
} & _MEASURED


def _replacing(table: type[Artifact] | type[Measurement], key: Sequence[str]) -> Insert:
    """Return the statement that inserts a row or, if `key` exists, replaces the other columns.

    Made once per process: building a statement costs more than running it.
    """
    columns = [column.name for column in table.__table__.columns if column.server_default is None]
    statement = insert(table).values({name: bindparam(name) for name in columns})
    replaced = {name: statement.excluded[name] for name in columns if name not in {"id", *key}}
    return statement.on_conflict_do_update(index_elements=list(key), set_=replaced)


# The row exists already if the file was missing from the store and the model is converted again.
_UPSERT_ARTIFACT = _replacing(Artifact, ["cache_key"])
# Only an earlier attempt at the same benchmark can have written it.
_UPSERT_MEASUREMENT = _replacing(Measurement, ["id"])

_CACHED = select(Artifact.__table__).where(Artifact.cache_key.in_(bindparam("keys", expanding=True)))

_REFUSED = select(RefusedPrecision.__table__).where(
    RefusedPrecision.cache_key.in_(bindparam("keys", expanding=True))
)

_FORGET_REFUSALS = text("DELETE FROM refused_precision WHERE conversion_id = :id")

_NOTHING_MADE = text("UPDATE conversion SET cached = :cached WHERE id = :id")

_CONVERTED = text("""
WITH converted AS (
    UPDATE conversion SET cached = :cached, timings_ns = CAST(:timings AS jsonb), peak_rss_kb = :peak
    WHERE id = :id RETURNING model_id
), described AS (
    UPDATE model SET parameters = :parameters, input_shape = :shape, state_dict_sha256 = :state_dict
    FROM converted
    WHERE model.id = converted.model_id
      AND (model.parameters, model.state_dict_sha256) IS DISTINCT FROM (:parameters, :state_dict)
)
INSERT INTO benchmark (id, campaign_id, conversion_id, artifact_id, pool, priority, state)
SELECT row, :campaign, :id, artifact, pool, :priority, 'queued'
FROM unnest(CAST(:rows AS uuid[]), CAST(:artifacts AS uuid[]), CAST(:pools AS text[]))
     AS b (row, artifact, pool)
ON CONFLICT (id) DO NOTHING
""")

# Those of an earlier attempt at the same benchmark.
_FORGET_OPERATORS = text("DELETE FROM operator_time WHERE measurement_id = :id")

_REPORTED = text("UPDATE benchmark SET report = CAST(:report AS jsonb) WHERE id = :id")

_PARAMETERS = text("""
UPDATE model SET parameters = :parameters
FROM conversion WHERE conversion.id = :id AND model.id = conversion.model_id
""")
