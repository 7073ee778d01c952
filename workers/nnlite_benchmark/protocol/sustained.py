"""Sustained latency: a pass of continuous inference after the measurement, and what its series says.

A phone that is measured for seconds is cold; in use it heats up, and its clocks fall. First level, plateau
and the time between them are from the change points of the series, as `shape` finds them.
"""

from contextlib import AbstractContextManager
from itertools import accumulate

import numpy as np

from nnlite.host.quiet import QuietResult
from nnlite.reports.schema import RunReport, Sustained
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Mode, Stage
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure
from nnlite_benchmark.protocol.measuring import RunOnce
from nnlite_benchmark.protocol.runs import Bounds
from nnlite_benchmark.protocol.shape import levels_of, shape_of_levels


def sustained_pass(
    job: BenchmarkJob,
    backend: Backend,
    run: RunOnce,
    settings: MeasurementSettings,
    quiet: AbstractContextManager[QuietResult],
) -> Sustained:
    """Run an artifact without pauses for `job.sustained_s` and return its latency over time.

    A device that fails in it is no failure of the measurement, which is done: it proves at its next canary
    whether it is well.

    Raises:
        Stopped: the worker was asked to stop.
    """
    bounds = Bounds.of(pass_limits(job, settings, job.sustained_s))
    try:
        with quiet:
            report = run(job, backend, bounds, stage=Stage.SUSTAINED, continuous_s=job.sustained_s).report
    except DeviceFailure as failure:
        return Sustained(seconds=job.sustained_s, error=failure.reason)
    return sustained_of(report, job.sustained_s, settings.shape_tolerance)


def pass_limits(job: BenchmarkJob, settings: MeasurementSettings, seconds: float) -> MeasurementSettings:
    """Return the settings of a pass of continuous inference, with at most a second of warm-up."""
    return job.in_force(settings).in_mode(Mode.QUICK).model_copy(update={"max_s": max(seconds, 1.0)})


def sustained_of(report: RunReport | Sustained, seconds: int, tolerance: float) -> Sustained:
    """Return what a series says.

    Args:
        report: of the pass, or what was made of it.
        seconds: that were asked for.
        tolerance: levels that differ by less are one level.
    """
    if report.bins is None:
        return Sustained(seconds=seconds, error=report.error or "the device sent no series")
    levels = levels_of(np.array(report.bins.median_ns, float), tolerance)
    values = [float(np.median(level)) for level in levels]
    begins = accumulate((level.size for level in levels[:-1]), initial=0)
    limit_ns = values[0] * (1 + tolerance)
    slower = next((begin for begin, value in zip(begins, values, strict=True) if value > limit_ns), None)
    return Sustained(
        seconds=seconds,
        first_level_ns=round(values[0]),
        plateau_ns=round(values[-1]),
        slower_after_ns=None if slower is None else report.bins.end_ns[slower - 1],
        shape=shape_of_levels(levels, tolerance),
        bins=report.bins,
        thermal=report.thermal,
    )
