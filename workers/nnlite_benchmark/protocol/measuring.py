"""What every device does around a run: a quiet machine, the canary, the run, the canary again.

A device brings only `RunOnce`, one measuring process; what its number means is
decided here and in `measurement`, so that a host's and a phone's mean the same.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

import numpy as np

from nnlite.host.quiet import QuietResult
from nnlite.reports.schema import Canary, MeasurementReport, Quiet
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Fault, Precision, QuietMode, Stage
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure, InputSpec, RuntimeRefusal
from nnlite_benchmark.protocol import canary
from nnlite_benchmark.protocol.measurement import Run, measurement_report
from nnlite_benchmark.protocol.parity import device_parity
from nnlite_benchmark.protocol.runs import Bounds, between_canaries

CANARY_PERCENTILE: Final = 25

CANARY_JOB: Final = BenchmarkJob(
    artifact=canary.MODEL_FILE,
    artifact_sha256=canary.MODEL_SHA256,
    model_name="canary",
    precision=Precision.FP32,
    inputs=(InputSpec(name="input", shape=canary.INPUT_SHAPE, dtype="float32"),),
    seed=canary.SEED,
)


class RunOnce(Protocol):
    """One measuring process from start to end."""

    def __call__(self, job: BenchmarkJob, backend: Backend, bounds: Bounds, *, stage: Stage | None) -> Run:
        """Run `job` and return what came back, a refusal by the runtime included.

        Args:
            job: what to run.
            backend: on what.
            bounds: of warm-up and timed runs.
            stage: what all its stages are shown as; None: as they come.

        Raises:
            DeviceFailure: the process or the device went wrong.
            Stopped: the worker was told to stop.
        """
        ...


@contextmanager
def nothing_to_quiet() -> Iterator[QuietResult]:
    """The quiet of a phone: nothing of ours runs on it."""
    yield QuietResult(mode=QuietMode.OWN_MACHINE, quiet=True, waited_s=0.0)


def measure(
    job: BenchmarkJob,
    backend: Backend,
    run: RunOnce,
    settings: MeasurementSettings,
    *,
    device: str,
    quiet: AbstractContextManager[QuietResult],
) -> MeasurementReport:
    """Measure between two canaries while the machine's other work stands still.

    Raises:
        RuntimeRefusal: the runtime refuses the artifact.
        DeviceFailure: as `RunOnce`, the canary is wrong, or its numbers make no measurement.
        Stopped: the worker was told to stop.
    """
    try:
        return _measure(job, backend, run, settings, device=device, quiet=quiet)
    except (ValueError, TypeError) as error:
        # Each number may be one that a run report can hold, and together they make no sense.
        reason = f"{device} reports numbers that make no measurement: {error}"
        raise DeviceFailure(Fault.BAD_REPORT, Stage.RUN, reason) from error


def _measure(
    job: BenchmarkJob,
    backend: Backend,
    run: RunOnce,
    settings: MeasurementSettings,
    *,
    device: str,
    quiet: AbstractContextManager[QuietResult],
) -> MeasurementReport:
    with quiet as quietness:
        guarded = between_canaries(
            lambda: canary_ns(run, settings, device=device),
            lambda: _accepted(job, backend, run(job, backend, Bounds.of(settings), stage=None), settings),
            settings.max_canary_drift,
        )
    return measurement_report(
        job,
        backend,
        guarded.result,
        settings,
        canary=Canary(
            before_p25_ns=guarded.before_ns,
            after_p25_ns=guarded.after_ns,
            drift=guarded.drift,
            repeated=guarded.repeated,
        ),
        quiet=Quiet(mode=quietness.mode, quiet=quietness.quiet, waited_ns=round(quietness.waited_s * 1e9)),
    )


def refusal(job: BenchmarkJob, backend: Backend, run: Run, settings: MeasurementSettings) -> RuntimeRefusal:
    """Return the refusal that stands in a run's report."""
    report = measurement_report(job, backend, run, settings)
    return RuntimeRefusal(
        run.report.stage,
        run.report.error or "refused",
        report,
        {"backend": backend.value, "runtime": f"{report.runtime} {report.runtime_version}".strip()},
    )


def canary_ns(run: RunOnce, settings: MeasurementSettings, *, device: str) -> int:
    """Run the canary on the CPU and return the 25th percentile of its runs.

    Raises:
        DeviceFailure: `wrong_canary`: it computes something else, or does not run at all.
        Stopped: the worker was told to stop.
    """
    try:
        seen = run(CANARY_JOB, Backend.CPU, _canary_bounds(settings), stage=Stage.CANARY)
    except DeviceFailure as failure:
        reason = f"the canary on {device}: {failure.reason}"
        raise DeviceFailure(failure.fault, Stage.CANARY, reason, failure.details) from failure
    if seen.report.error is not None:
        reason = f"the canary does not run on {device}: {seen.report.error}"
        raise DeviceFailure(Fault.WRONG_CANARY, Stage.CANARY, reason)
    expected = np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4").reshape(canary.OUTPUT_SHAPE)
    parity = device_parity([expected], list(seen.outputs), Precision.FP32, Backend.CPU)
    if not parity.ok:
        raise DeviceFailure(
            Fault.WRONG_CANARY,
            Stage.CANARY,
            f"{device} computes the canary wrongly ({parity.rule}: {parity.worst}, at most {parity.limit})",
            {"outputs": [tensor.tolist() for tensor in seen.outputs]},
        )
    if not seen.samples_ns.size:
        raise DeviceFailure(Fault.BAD_REPORT, Stage.CANARY, f"{device} reports no run of the canary")
    return round(float(np.percentile(seen.samples_ns, CANARY_PERCENTILE)))


def _canary_bounds(settings: MeasurementSettings) -> Bounds:
    runs = settings.canary_runs
    few = {"warmup_min_runs": 3, "warmup_min_s": 0, "min_runs": runs, "min_s": 0, "few_runs": runs}
    return Bounds.of(settings.model_dump() | few)


def _accepted(job: BenchmarkJob, backend: Backend, run: Run, settings: MeasurementSettings) -> Run:
    if run.report.error is not None:
        raise refusal(job, backend, run, settings)
    if run.samples_ns.size and not np.median(run.samples_ns):
        raise ValueError("half of the samples are 0 ns")
    return run
