"""Continuous inference: runs without pauses for so many seconds, and their latency in bins of a second.

The measuring process imports this module, so it imports the standard library only. The app has the same rules
(`ContinuousRuns.java`); tests compare both.
"""

from dataclasses import dataclass, field
from typing import Final

from nnlite_benchmark.protocol.runs import SECOND_NS, Clock, Invoke

_BIN_NS: Final = SECOND_NS


@dataclass
class BinnedRuns:
    """The fields of a report's `Bins`."""

    end_ns: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    median_ns: list[int] = field(default_factory=list)


def continuous_runs(invoke: Invoke, clock: Clock, seconds: float) -> BinnedRuns:
    """Invoke for so many seconds, at least once.

    A bin ends with the inference that ends a second or more after the bin before, or with the last one. Of an
    even number of inferences the lower of both middle ones is the median.
    """
    bins, durations_ns = BinnedRuns(), list[int]()
    begin_ns = bin_ns = clock()
    while True:
        before_ns = clock()
        invoke()
        now_ns = clock()
        durations_ns.append(now_ns - before_ns)
        ended = now_ns - begin_ns >= seconds * SECOND_NS
        if not ended and now_ns - bin_ns < _BIN_NS:
            continue
        bins.end_ns.append(now_ns - begin_ns)
        bins.runs.append(len(durations_ns))
        bins.median_ns.append(sorted(durations_ns)[(len(durations_ns) - 1) // 2])
        if ended:
            return bins
        durations_ns.clear()
        bin_ns = now_ns
