"""Sustained latency: what the series of a pass of continuous inference says.

A phone that is measured for seconds is cold; in use it heats up, and its clocks fall. First level, plateau
and the time between them are from the change points of the series, as `shape` finds them.
"""

from itertools import accumulate

import numpy as np

from nnlite.reports.schema import RunReport, Sustained
from nnlite_benchmark.protocol.analysis.shape import levels_of, shape_of_levels


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
