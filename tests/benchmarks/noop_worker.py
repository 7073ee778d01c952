"""A worker whose work is nothing: the real task, claims, writes and messages around it.

`python noop_worker.py conversion|benchmark CONCURRENCY`, with the settings in the environment.
"""

import sys
from datetime import UTC, datetime

from nnlite import logs
from nnlite.db.tables import Artifact
from nnlite.host.cores import choose_cores
from nnlite.local import Endpoints
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.leases import Claim
from nnlite.reports.schema import BenchmarkReport, DeviceContext, Latency, MeasurementReport
from nnlite.results.devices import record_ready
from nnlite.results.recording import ConvertedModel, record_benchmark, record_conversion
from nnlite.settings import load_settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Precision, Stage, Verdict, WorkKind
from nnlite.worker.attempt import Result
from nnlite.worker.celery_worker import WorkerPlan, default_node, per_process_context, run_worker
from nnlite.worker.watchdog import WorkerLiveness
from nnlite_benchmark.host.context import host_context


def convert(claim: Claim) -> Result:
    """Write what a conversion writes."""
    request = claim.payload
    artifact = Artifact(
        cache_key=request["identity"], identity=request["identity"], precision="fp32",
        sha256=request["identity"], size_bytes=1000, path="00/none.tflite", converter="none", rewrites=[],
        operators={"CONV_2D": 10}, graph_operators={"aten.conv2d": 10},
        inputs={"tensors": []}, outputs={"tensors": []}, reference_outputs=[], seed=0, parity_state="ok",
        parity={"relative": 0.0}, parameters=1000, state_dict_sha256=None, input_shape=[1, 3, 32, 32],
        timings_ns={"lower": 1}, peak_rss_kb=1, calibration=None,
    )  # fmt: skip
    model = ConvertedModel(
        name=request["model"], priority=request["priority"], pools=request["pools"], cached=False
    )
    return Result(
        write=lambda connection: record_conversion(connection, claim, model, [artifact]),
        details={"timings_ns": artifact.timings_ns},
    )


#: Nothing is measured again.
_SETTINGS = MeasurementSettings(noisy_repeats=0, audit_share=0)


def measure(claim: Claim, device_context: DeviceContext) -> Result:
    """Write what a benchmark writes."""
    latency = Latency(
        mean_ns=1, median_ns=1, p90_ns=1, p95_ns=1, p99_ns=1, min_ns=1, max_ns=1, std_ns=0, cv=0.0,
        mad_ratio=0.0, slice_drift=0.0,
    )  # fmt: skip
    report = MeasurementReport(
        backend=Backend.CPU, precision=Precision.FP32, verdict=Verdict.VALID, started_at=datetime.now(UTC),
        runtime="none", runtime_version="0", threads=1, stage=Stage.RUN, runs=50, latency=latency,
        samples_ns=(1,) * 50,
    )  # fmt: skip
    whole = BenchmarkReport.of(
        model_name="none", artifact_sha256="0" * 64, device=device_context, measurements=(report,)
    )
    return Result(write=lambda connection: record_benchmark(connection, claim, whole, _SETTINGS))


def main() -> int:
    """Consume until stopped."""
    kind, concurrency = WorkKind(sys.argv[1]), int(sys.argv[2])
    settings = load_settings()
    logs.configure(settings.log_level)
    endpoints = Endpoints(database_url=settings.database_url, broker_url=settings.broker_url)
    liveness = WorkerLiveness()
    node = default_node(f"noop-{kind}")
    context = per_process_context(endpoints, settings, node, liveness)
    if kind is WorkKind.CONVERSION:
        handler, queue, pool = convert, CONVERT_QUEUE, "prefork"
    else:
        device_context = host_context("noop", "host", choose_cores())
        record_ready(context().engine, device_context, node)
        handler = lambda claim: measure(claim, device_context)  # noqa: E731
        queue, pool = benchmark_queue("host"), "threads"
    plan = WorkerPlan(
        kind=kind, node=node, queue=queue, pool=pool, concurrency=concurrency, deadline_s=60,
        context=context, handler=handler,
    )  # fmt: skip
    return run_worker(plan, endpoints, settings, liveness)


if __name__ == "__main__":
    sys.exit(main())
