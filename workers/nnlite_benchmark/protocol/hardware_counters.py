"""Counts of the processor's events: a pass of continuous inference during which the device counts them."""

from contextlib import AbstractContextManager

from nnlite.host.quiet import QuietResult
from nnlite.reports.schema import HardwareCounters
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Stage
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure
from nnlite_benchmark.protocol.measuring import RunOnce
from nnlite_benchmark.protocol.runs import Bounds
from nnlite_benchmark.protocol.sustained import pass_limits


def counters_pass(
    job: BenchmarkJob,
    backend: Backend,
    run: RunOnce,
    settings: MeasurementSettings,
    quiet: AbstractContextManager[QuietResult],
) -> HardwareCounters:
    """Run an artifact without pauses for `job.counters_s`; return what was counted of an inference.

    As `sustained_pass`, a device that fails in it is no failure of the measurement.

    Raises:
        Stopped: the worker was asked to stop.
    """
    bounds = Bounds.of(pass_limits(job, settings, job.counters_s))
    try:
        with quiet:
            report = run(job, backend, bounds, stage=Stage.COUNTERS, continuous_s=job.counters_s).report
    except DeviceFailure as failure:
        return HardwareCounters(error=failure.reason)
    return report.counters or HardwareCounters(error=report.error or "the device counts nothing")
