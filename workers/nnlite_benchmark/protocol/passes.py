"""Passes of continuous inference after a measurement: latency over time, energy, events of the processor.

A device that fails in a pass is no failure of the measurement, which is done: it proves at its next canary
whether it is well.
"""

import threading
from contextlib import AbstractContextManager
from typing import Any

from nnlite.host.quiet import QuietResult
from nnlite.reports.schema import HardwareCounters, RunReport
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Stage
from nnlite_benchmark.device import BenchmarkJob, Device, DeviceFailure
from nnlite_benchmark.protocol.analysis.sustained import sustained_of
from nnlite_benchmark.protocol.measuring import refused_run
from nnlite_benchmark.protocol.run_plan import RunOnce, RunPlan, pass_limits
from nnlite_benchmark.protocol.runs import Bounds


def passes_of(
    device: Device, job: BenchmarkJob, backend: Backend, tolerance: float, stop: threading.Event
) -> dict[str, Any]:
    """Make the passes that the job asks for; return the fields of the measurement's report.

    Args:
        tolerance: levels of latency that differ by less are one level.

    Raises:
        Stopped: the worker was asked to stop.
    """
    fields: dict[str, Any] = {}
    for stage, seconds in job.passes.items():
        report = device.continuous(job, backend, stage, seconds, stop=stop)
        fields |= _fields(stage, report, seconds, tolerance)
    return fields


def _fields(stage: Stage, report: RunReport, seconds: int, tolerance: float) -> dict[str, Any]:
    """Return what the report of a pass says, as fields of a measurement's report."""
    if stage is Stage.SUSTAINED:
        return {"sustained": sustained_of(report, seconds, tolerance)}
    if stage is Stage.COUNTERS:
        why = report.error or "the device counts nothing"
        return {"counters": report.counters or HardwareCounters(error=why)}
    if report.energy is not None:
        return {"energy": report.energy}
    return {"energy_error": report.error or report.energy_error or "the device has no meter"}


def continuous_report(
    job: BenchmarkJob,
    backend: Backend,
    run: RunOnce,
    settings: MeasurementSettings,
    quiet: AbstractContextManager[QuietResult],
    *,
    stage: Stage,
    seconds: float,
) -> RunReport:
    """Run an artifact without pauses and return its report; see `Device.continuous`."""
    limits = pass_limits(job, settings, seconds)
    bounds = Bounds.of(limits)
    plan = RunPlan(job=job, backend=backend, bounds=bounds, stage=stage, continuous_s=seconds)
    try:
        with quiet:
            return run(plan).report
    except DeviceFailure as failure:
        return refused_run(failure.reason, threads=limits.threads).report
