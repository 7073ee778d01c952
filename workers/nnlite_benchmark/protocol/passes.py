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
from nnlite.vocabulary import Backend, Mode, Stage
from nnlite_benchmark.device import BenchmarkJob, Device, DeviceFailure
from nnlite_benchmark.protocol.measuring import RunOnce, refused_run
from nnlite_benchmark.protocol.runs import Bounds
from nnlite_benchmark.protocol.sustained import sustained_of


def passes_of(
    device: Device, job: BenchmarkJob, backend: Backend, tolerance: float, stop: threading.Event
) -> dict[str, Any]:
    """Make the passes that the job asks for; return the fields of the measurement's report.

    Args:
        tolerance: levels of latency that differ by less are one level.

    Raises:
        Stopped: the worker was asked to stop.
    """

    def report(stage: Stage, seconds: int) -> RunReport:
        return device.continuous(job, backend, stage, seconds, stop=stop)

    fields: dict[str, Any] = {}
    if job.sustained_s:
        series = report(Stage.SUSTAINED, job.sustained_s)
        fields["sustained"] = sustained_of(series, job.sustained_s, tolerance)
    if job.energy_s:
        metered = report(Stage.ENERGY, job.energy_s)
        why = metered.error or metered.energy_error or "the device has no meter"
        fields |= {"energy_error": why} if metered.energy is None else {"energy": metered.energy}
    if job.counters_s:
        counted = report(Stage.COUNTERS, job.counters_s)
        why = counted.error or "the device counts nothing"
        fields["counters"] = counted.counters or HardwareCounters(error=why)
    return fields


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
    try:
        with quiet:
            return run(job, backend, Bounds.of(limits), stage=stage, continuous_s=seconds).report
    except DeviceFailure as failure:
        return refused_run(failure.reason, threads=limits.threads).report


def pass_limits(job: BenchmarkJob, settings: MeasurementSettings, seconds: float) -> MeasurementSettings:
    """Return the settings of a pass of continuous inference, with at most a second of warm-up."""
    return job.in_force(settings).in_mode(Mode.QUICK).model_copy(update={"max_s": max(seconds, 1.0)})
