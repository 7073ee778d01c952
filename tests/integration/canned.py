"""Conversions and benchmarks whose results are at hand: the canary is the artifact of every model."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integration.conftest import Cluster, living_owner
from nnlite.artifacts.store import ArtifactStore
from nnlite.db.tables import Artifact
from nnlite.host.files import file_sha256
from nnlite.queue import leases
from nnlite.queue.leases import Claim
from nnlite.queue.messages import Message
from nnlite.reports.schema import BenchmarkReport, Cpu, DeviceContext, Latency, MeasurementReport
from nnlite.results.devices import record_device_state, record_ready
from nnlite.results.recording import (
    ConvertedModel,
    record_benchmark,
    record_conversion,
)
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import (
    Backend,
    DeviceKind,
    DeviceStatus,
    Precision,
    QuietMode,
    Reason,
    Stage,
    Verdict,
    WorkKind,
)
from nnlite_benchmark.protocol import canary
from waiting import HANG_S, NEVER_S

#: Nothing is measured a second time.
ONE_RUN = MeasurementSettings(noisy_repeats=0, audit_share=0)

CONTEXT = DeviceContext(
    name="lab-phone",
    kind=DeviceKind.PHONE,
    pool="phones",
    device_type="Pixel 4",
    os_version="11",
    cpu=Cpu(architecture="aarch64", cores=8, vendor="ARM", features=("neon",)),
    total_ram_kb=6_000_000,
    quiet_mode=QuietMode.PINNED_CORES,
)


def record_lab_phone(cluster: Cluster, status: DeviceStatus, owner: str | None = None) -> uuid.UUID:
    """Write that the device of `CONTEXT` was ready, and that it is in another state now."""
    record_ready(cluster.engine, CONTEXT, owner)
    where = CONTEXT.name, CONTEXT.kind, CONTEXT.pool
    return record_device_state(cluster.engine, *where, status, owner_node=owner)


def artifact_row(identity: str, **changes: Any) -> Artifact:
    """The canary as the artifact of the model with `identity`."""
    values = {
        "cache_key": f"key of {identity}",
        "identity": identity,
        "precision": "fp32",
        "sha256": file_sha256(canary.MODEL_FILE),
        "size_bytes": canary.MODEL_FILE.stat().st_size,
        "path": "00/canary.tflite",
        "converter": "litert-torch 0.10.0",
        "rewrites": ["high_rank_linear"],
        "operators": {"CONV_2D": 26},
        "graph_operators": {"aten.conv2d": 26},
        "inputs": {
            "tensors": [
                {"name": "t0", "shape": list(canary.INPUT_SHAPE), "dtype": "float32", "quantization": None}
            ]
        },
        "outputs": {"tensors": []},
        "reference_outputs": [],
        "seed": canary.SEED,
        "parity_state": "ok",
        "parity": {"relative": 1e-7},
        "parameters": 1234,
        "state_dict_sha256": "5" * 64,
        "input_shape": [1, 3, 8, 8],
        "timings_ns": {"lower": 2_000_000_000},
        "peak_rss_kb": 500_000,
        "calibration": None,
    }
    return Artifact(**(values | changes))


def stored_canary(
    store: ArtifactStore, file: Path = canary.MODEL_FILE, output: Path = canary.EXPECTED_FILE
) -> dict[str, Any]:
    """Put an artifact and its reference output into a store; return the columns that say where."""
    return {
        "path": store.put(file, ".tflite"),
        "sha256": file_sha256(file),
        "size_bytes": file.stat().st_size,
        "reference_outputs": [store.put(output, ".bin")],
    }


def claimed(cluster: Cluster, kind: WorkKind, row: uuid.UUID) -> Claim:
    """Claim a row that is to be had."""
    claim = leases.claim(cluster.engine, kind, row, living_owner(), lease_s=HANG_S, deadline_s=NEVER_S)
    assert claim is not None
    return claim


def finish_conversion(
    cluster: Cluster, row: uuid.UUID, *, cached: bool = False, **changes: Any
) -> list[Message]:
    """Convert a queued row: nothing is converted, but everything is written."""
    claim = claimed(cluster, WorkKind.CONVERSION, row)
    model = ConvertedModel(
        name=claim.payload["model"],
        priority=claim.payload["priority"],
        pools=claim.payload["pools"],
        cached=cached,
    )
    artifact = artifact_row(claim.payload["identity"], **changes)
    return leases.finish(
        cluster.engine, claim, lambda connection: record_conversion(connection, claim, model, [artifact])
    )


def measurement(backend: Backend = Backend.CPU, **changes: Any) -> MeasurementReport:
    """A valid measurement of a millisecond."""
    values = {
        "backend": backend,
        "precision": Precision.FP32,
        "verdict": Verdict.VALID,
        "started_at": datetime(2026, 11, 23, tzinfo=UTC),
        "runtime": "LiteRT",
        "runtime_version": "2.3.0",
        "threads": 1,
        "stage": Stage.RUN,
        "runs": 3,
        "init_ns": 5_000_000,
        "first_inference_ns": 2_000_000,
        "latency": Latency(
            mean_ns=1_100_000,
            median_ns=1_000_000,
            p90_ns=1_300_000,
            p95_ns=None,
            p99_ns=None,
            min_ns=1_000_000,
            max_ns=1_300_000,
            std_ns=141_421,
            cv=0.1286,
            mad_ratio=0.0,
            slice_drift=None,
        ),
        "samples_ns": (1_000_000, 1_000_000, 1_300_000),
        "peak_rss_kb": 30_000,
        "baseline_rss_kb": 20_000,
    }
    return MeasurementReport(**(values | changes))


def refusal(backend: Backend = Backend.CPU, error: str = "unknown operator") -> MeasurementReport:
    """A measurement of an artifact that the runtime refused."""
    return measurement(
        backend,
        verdict=Verdict.INVALID,
        reasons=(Reason.RUNTIME,),
        error=error,
        latency=None,
        samples_ns=(),
        runs=0,
    )


def with_median(
    median_ns: int, low_ns: int | None = None, high_ns: int | None = None, **changes: Any
) -> MeasurementReport:
    """Return a measurement with a median and its interval."""
    update = {"median_ns": median_ns, "median_low_ns": low_ns, "median_high_ns": high_ns}
    return measurement(latency=measurement().latency.model_copy(update=update), **changes)


def queued_benchmark(cluster: Cluster) -> uuid.UUID:
    """Convert the only model of the campaign `night`; return the first run of its artifact."""
    conversion = cluster.conversion(cluster.submit("one", name="night", pools=("phones",)).id)["id"]
    (message,) = finish_conversion(cluster, conversion)
    cluster.empty_broker()
    return message.row_id


def finish_benchmark(
    cluster: Cluster,
    row: uuid.UUID,
    *reports: MeasurementReport,
    settings: MeasurementSettings = ONE_RUN,
) -> Claim:
    """Measure a queued row: nothing is measured, but everything is written."""
    record_ready(cluster.engine, CONTEXT, "benchmark@here")
    claim = claimed(cluster, WorkKind.BENCHMARK, row)
    leases.finish(
        cluster.engine, claim, lambda connection: written(connection, claim, *reports, settings=settings)
    )
    return claim


def written(
    connection: Any, claim: Claim, *reports: MeasurementReport, settings: MeasurementSettings = ONE_RUN
) -> list[Message]:
    """Write measurements in the caller's transaction."""
    report = BenchmarkReport.of(
        model_name=claim.payload["model"],
        artifact_sha256=claim.payload["artifact"]["sha256"],
        device=CONTEXT,
        measurements=reports or (measurement(),),
    )
    return record_benchmark(connection, claim, report, settings)
