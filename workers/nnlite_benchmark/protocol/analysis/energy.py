"""Energy of an inference: mean power between readings of a meter, times the mean duration.

The same for every method, so that their intervals mean the same; their numbers do not.
"""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from nnlite.reports.schema import Energy, RunReport
from nnlite.vocabulary import EnergyMethod

#: Time in seconds, and energy since the first reading in microjoules.
Reading = tuple[float, float]

#: The interval of the mean power is that of the means of so many equal parts of the run, each of two readings
#: or more, because readings close in time resemble each other.
_BLOCKS: Final = 5
#: Student's t for 95 % with one degree of freedom less than blocks.
_T: Final = 2.776


def energy_of(
    method: EnergyMethod,
    readings: Sequence[Reading],
    inference_ns: float,
    *,
    resolution_uj: float = 0.0,
    **parts: Any,
) -> Energy | None:
    """Return the energy of one inference, or None with fewer than two readings.

    Args:
        method: of the readings.
        readings: in order of time.
        inference_ns: mean duration.
        resolution_uj: least difference that the meter shows.
        parts: further fields of the report.
    """
    if len(readings) < 2:
        return None
    power_w, seconds = _power_w(readings[0], readings[-1]), readings[-1][0] - readings[0][0]
    uj_per_w = inference_ns / 1e3
    low_uj = high_uj = None
    if (half_width_w := _half_width_w(readings)) is not None:
        # Each end of the readings is wrong by the resolution at most.
        half_width_w += 2 * resolution_uj / 1e6 / seconds
        low_uj = max(0.0, power_w - half_width_w) * uj_per_w
        high_uj = (power_w + half_width_w) * uj_per_w
    return Energy(
        method=method,
        seconds=seconds,
        power_w=power_w,
        energy_uj=power_w * uj_per_w,
        energy_low_uj=low_uj,
        energy_high_uj=high_uj,
        **parts,
    )


def continuous_inference_ns(report: RunReport) -> float | None:
    """Return the mean time from one inference to the next of a pass; None: it was none."""
    return None if report.bins is None else report.bins.end_ns[-1] / sum(report.bins.runs)


def _half_width_w(readings: Sequence[Reading]) -> float | None:
    """Return half the width of the 95 % interval of the mean power, or None with too few readings."""
    size = (len(readings) - 1) // _BLOCKS
    if size < 2:
        return None
    ends = [readings[block * size] for block in range(_BLOCKS + 1)]
    powers_w = [_power_w(first, last) for first, last in pairwise(ends)]
    return _T * statistics.stdev(powers_w) / _BLOCKS**0.5


def _power_w(first: Reading, last: Reading) -> float:
    return (last[1] - first[1]) / 1e6 / (last[0] - first[0])
