"""The measurement procedure of every device: noise isolation, canary, run, canary.

A device provides only `RunOnce`, one measuring process; everything else is done
here and in `measurement`, so that the numbers of hosts and phones are comparable.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nnlite.host.quiet import QuietResult
from nnlite.reports.schema import Canary, MeasurementReport, Quiet, RunReport
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Fault, Precision, QuietMode, Refusal, Stage
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure, InputSpec, RuntimeRefusal
from nnlite_benchmark.protocol import canary
from nnlite_benchmark.protocol.analysis.measurement import Run, measurement_report
from nnlite_benchmark.protocol.analysis.parity import device_parity
from nnlite_benchmark.protocol.gating import Gate
from nnlite_benchmark.protocol.last_canary import LastCanary
from nnlite_benchmark.protocol.outputs import write_outputs
from nnlite_benchmark.protocol.run_plan import RunOnce, RunPlan
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


@contextmanager
def always_quiet() -> Iterator[QuietResult]:
    """Noise isolation of a phone, which runs no conversions: nothing to do."""
    yield QuietResult(mode=QuietMode.OWN_MACHINE, quiet=True, waited_s=0.0, undisturbed=True)


def measure(
    job: BenchmarkJob,
    backend: Backend,
    run: RunOnce,
    settings: MeasurementSettings,
    *,
    device: str,
    quiet: AbstractContextManager[QuietResult],
    last: LastCanary,
    gate: Gate | None = None,
) -> MeasurementReport:
    """Measure between two canaries while conversions on this machine are paused.

    Args:
        job: the artifact and its inputs.
        backend: what executes it.
        run: runs one measuring process.
        settings: of the protocol.
        device: its name, for messages.
        quiet: its noise isolation.
        last: the device's last canary, which is the first of this measurement if nothing ran since; the
            second one is stored there.
        gate: of the timed runs.

    Raises:
        RuntimeRefusal: the runtime rejected the artifact.
        DeviceFailure: as `RunOnce`, or the canary is wrong, or the reported numbers are inconsistent.
        Failure: the outputs cannot be written.
        Stopped: the worker was asked to stop.
    """
    plan = RunPlan(job=job, backend=backend, bounds=Bounds.of(job.in_force(settings)), gate=gate)
    try:
        with quiet as isolation:
            # Taken in any case: what fails leaves none.
            known_ns = last.take(settings.canary_reuse_s)
            guarded = between_canaries(
                lambda before_ns: canary_ns(run, settings, device=device, before_ns=before_ns),
                lambda: _accepted(run, plan, settings),
                settings.max_canary_drift,
                # Of a gated run it says nothing; and what is noisy is better repeated later.
                lambda result: result.report.slices is not None,
                before_ns=known_ns if isolation.undisturbed else None,
            )
        waited_ns = round(isolation.waited_s * 1e9)
        report = measurement_report(
            job,
            backend,
            guarded.result,
            settings,
            canary=Canary(
                before_p25_ns=guarded.before_ns,
                after_p25_ns=guarded.after_ns,
                drift=guarded.drift,
                repeated=guarded.repeated,
                reused=guarded.reused,
            ),
            quiet=Quiet(mode=isolation.mode, quiet=isolation.quiet, waited_ns=waited_ns),
        )
        if guarded.drift <= settings.max_canary_drift:
            last.set(guarded.after_ns)
        if job.outputs_folder is not None:
            write_outputs(report.outputs, guarded.result.outputs, job.outputs_folder)
        return report
    except (ValueError, TypeError) as error:
        # Each number is valid in a run report, but together they are inconsistent.
        reason = f"{device} reports inconsistent numbers: {error}"
        raise DeviceFailure(Fault.BAD_REPORT, Stage.RUN, reason) from error


def classified(
    job: BenchmarkJob, backend: Backend, run: RunOnce, settings: MeasurementSettings
) -> NDArray[Any]:
    """Return the first outputs of the job's samples, (samples, *shape); no number of time is taken.

    Raises:
        RuntimeRefusal: the runtime rejected the artifact or the samples.
        DeviceFailure: as `RunOnce`, or the outputs are of another number of samples.
        Stopped: the worker was asked to stop.
    """
    plan = RunPlan(job=job, backend=backend, bounds=Bounds.least(), stage=Stage.EVALUATE)
    result = _accepted(run, plan, settings)
    wanted = len(job.samples[0])
    if len(result.outputs) != 1 or result.outputs[0].shape[:1] != (wanted,):
        shapes = [tensor.shape for tensor in result.outputs]
        reason = f"{wanted} samples were run, and the outputs are {shapes}"
        raise DeviceFailure(Fault.BAD_REPORT, Stage.EVALUATE, reason)
    return result.outputs[0]


def refusal(job: BenchmarkJob, backend: Backend, run: Run, settings: MeasurementSettings) -> RuntimeRefusal:
    """Return the RuntimeRefusal for a run whose report has an error."""
    report = measurement_report(job, backend, run, settings)
    return RuntimeRefusal(
        run.report.stage,
        run.report.error or "refused",
        report,
        {"backend": backend.value, "runtime": report.executed_by},
    )


def refused_run(
    error: str, *, threads: int, runtime: str = "", runtime_version: str = "", by: Refusal | None = None
) -> Run:
    """Return a run that was not tried, with the error that says why.

    Args:
        by: what refuses; None: the runtime.
    """
    report = RunReport(
        runtime=runtime,
        runtime_version=runtime_version,
        threads=threads,
        stage=Stage.INITIALIZE,
        error=error,
        refusal=by,
    )
    return Run(report=report, samples_ns=np.empty(0, np.int64), outputs=(), started_at=datetime.now(UTC))


def canary_ns(run: RunOnce, settings: MeasurementSettings, *, device: str, before_ns: int = 0) -> int:
    """Run the canary on the CPU and return the 25th percentile of its runs.

    Args:
        run: runs one measuring process.
        settings: of the protocol.
        device: its name, for messages.
        before_ns: what the canary before took; 0: there is none.

    Raises:
        DeviceFailure: `wrong_canary`: its output is wrong, or it does not run.
        Stopped: the worker was asked to stop.
    """
    bounds = _canary_bounds(settings)
    try:
        result = run(
            RunPlan(
                job=CANARY_JOB,
                backend=Backend.CPU,
                bounds=bounds,
                stage=Stage.CANARY,
                canary_before_ns=before_ns,
            )
        )
    except DeviceFailure as failure:
        reason = f"the canary on {device}: {failure.reason}"
        raise DeviceFailure(failure.fault, Stage.CANARY, reason, failure.details) from failure
    if result.report.error is not None:
        reason = f"the canary does not run on {device}: {result.report.error}"
        raise DeviceFailure(Fault.WRONG_CANARY, Stage.CANARY, reason)
    expected = np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4").reshape(canary.OUTPUT_SHAPE)
    parity = device_parity([expected], list(result.outputs), Precision.FP32, Backend.CPU)
    if not parity.ok:
        raise DeviceFailure(
            Fault.WRONG_CANARY,
            Stage.CANARY,
            f"{device} computes the canary wrongly ({parity.rule}: {parity.worst}, at most {parity.limit})",
            {"outputs": [tensor.tolist() for tensor in result.outputs]},
        )
    if not result.samples_ns.size:
        raise DeviceFailure(Fault.BAD_REPORT, Stage.CANARY, f"{device} reports no run of the canary")
    return round(float(np.percentile(result.samples_ns, CANARY_PERCENTILE)))


def _canary_bounds(settings: MeasurementSettings) -> Bounds:
    runs = settings.canary_runs
    # Its 25th percentile is the same after one run of warm-up as after three.
    warm_up = {"warmup_min_runs": 1, "warmup_min_s": 0, "warmup_agreeing_runs": 0}
    return Bounds.of(settings.model_dump() | warm_up | {"min_runs": runs, "min_s": 0, "few_runs": runs})


def _accepted(run: RunOnce, plan: RunPlan, settings: MeasurementSettings) -> Run:
    result = run(plan)
    if result.report.error is not None:
        raise refusal(plan.job, plan.backend, result, settings)
    if result.samples_ns.size and not np.median(result.samples_ns):
        raise ValueError("half of the samples are 0 ns")
    return result
