"""Gated sampling: timed runs in slices between canaries; a slice counts if both its canaries were fast.

On a shared machine a core has two speeds, because of a neighbour on its sibling
hardware thread, which nothing in /proc shows. So a tiny network, the gate's
canary, is timed in the same thread before and after each slice of timed runs.

Pure functions of a clock and of callables, which tests drive with a simulated
clock. The measuring process imports this module, so it imports the standard
library only.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import compress, pairwise
from statistics import median, median_low
from typing import Any, Final, Self

from nnlite_benchmark.protocol.runs import SECOND_NS, Bounds, Clock, Invoke

#: Slices that must count for a latency: one or two may be luck.
MIN_SLICES: Final = 3
#: Slices that must count after a quarter of the time, and the seconds for which a run goes on without.
_HOPEFUL_SLICES: Final = 2
_PATIENCE_S: Final = 10
#: Fewest timed runs of a canary.
_MIN_CANARY_RUNS: Final = 3
#: The fast speed of a run is the third shortest of its canaries, from 60 on that at 5 %: no single minimum.
_SUPPORT: Final = 3
_QUANTILE: Final = 20


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Settings of gated sampling, which `MeasurementSettings` explains, and what is known of the device."""

    gate_slice_s: float
    gate_canary_s: float
    gate_learn_s: float
    gate_limit: float
    #: Duration of the canary on a fast core, nanoseconds; None: not known yet.
    fast_ns: int | None

    @classmethod
    def of(cls, settings: object, fast_ns: int | None) -> Self:
        """Return the gate from the measurement settings."""
        named: dict[str, Any] = {
            entry.name: getattr(settings, entry.name) for entry in fields(cls) if entry.name != "fast_ns"
        }
        return cls(**named, fast_ns=fast_ns)


@dataclass(kw_only=True)
class GatedRuns:
    """Timed runs in slices between canaries, all in nanoseconds and in chronological order."""

    samples_ns: "array[int]" = field(default_factory=lambda: array("q"))
    #: Number of samples of each slice.
    slice_runs: list[int] = field(default_factory=list)
    #: Their sum, of each slice.
    slice_ns: list[int] = field(default_factory=list)
    #: Duration of each slice's first run, which is no sample; empty: it is one.
    slice_first_ns: list[int] = field(default_factory=list)
    #: One before each slice, and one after the last.
    canaries_ns: list[int] = field(default_factory=list)
    #: Canaries before the first slice, from which an unknown fast speed was learned.
    learning_ns: list[int] = field(default_factory=list)
    #: From the start of the first slice to the end of the last.
    run_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which slices count."""

    #: Duration of the canary on a fast core.
    fast_ns: int
    #: Of each slice.
    counted: tuple[bool, ...]
    #: Share of the canaries that were slower than the gate allows.
    slow_share: float
    #: Median of those canaries / `fast_ns`; None: there are none.
    slow_ratio: float | None


def select(canaries_ns: Sequence[int], learning_ns: Sequence[int], gate: Gate) -> Selection:
    """Return which of the slices between at least two canaries count.

    A slice counts if both its canaries are within `gate_limit` of the fast speed: the known one, or the
    run's own where that is faster or none is known.
    """
    own_ns = low_quantile([*learning_ns, *canaries_ns])
    fast_ns = own_ns if gate.fast_ns is None else min(own_ns, gate.fast_ns)
    most_ns = fast_ns * (1 + gate.gate_limit)
    fast = [canary_ns <= most_ns for canary_ns in canaries_ns]
    slow_ns = [canary_ns for canary_ns in canaries_ns if canary_ns > most_ns]
    return Selection(
        fast_ns=fast_ns,
        counted=tuple(before and after for before, after in pairwise(fast)),
        slow_share=len(slow_ns) / len(canaries_ns),
        slow_ratio=median(slow_ns) / max(fast_ns, 1) if slow_ns else None,
    )


def low_quantile(canaries_ns: Sequence[int]) -> int:
    """Return the fast speed that several canaries of a run show, at least one of them."""
    index = max(_SUPPORT - 1, len(canaries_ns) // _QUANTILE)
    return sorted(canaries_ns)[min(index, len(canaries_ns) - 1)]


def gated_runs(
    invoke: Invoke, canary: Invoke, clock: Clock, bounds: Bounds, gate: Gate, *, typical_ns: int
) -> GatedRuns:
    """Time runs in slices until enough of them count, or until the most seconds of `bounds` have passed.

    Enough are `min_runs` and `min_s` of counted runs, from at least `MIN_SLICES` slices. A run of which fewer
    than two slices count after a quarter of `max_s`, but at least ten seconds, ends there: it is better
    repeated later. With fewer than `few_runs` timed runs, counted or not, it goes on beyond `max_s`, to
    `few_runs_max_s`.

    Args:
        typical_ns: duration of an inference. Of a model that fills a slice with one, no run is dropped: what
            the canary displaced from the caches is little compared with it.
    """
    runs = GatedRuns()
    drops_first = typical_ns < gate.gate_slice_s * SECOND_NS
    if gate.fast_ns is None:
        _learn(runs, canary, clock, gate)
    runs.canaries_ns.append(_canary_ns(canary, clock, gate))
    begin_ns = clock()
    while True:
        _time_slice(runs, invoke, clock, gate, drops_first=drops_first)
        runs.run_ns = clock() - begin_ns
        runs.canaries_ns.append(_canary_ns(canary, clock, gate))
        if _has_ended(runs, bounds, gate):
            return runs


def _learn(runs: GatedRuns, canary: Invoke, clock: Clock, gate: Gate) -> None:
    end_ns = clock() + gate.gate_learn_s * SECOND_NS
    while clock() < end_ns:
        runs.learning_ns.append(_canary_ns(canary, clock, gate))


def _canary_ns(canary: Invoke, clock: Clock, gate: Gate) -> int:
    """Run the canary and return the median of the second half of its runs.

    The first half is untimed: the model has displaced the canary's data from the caches.
    """
    half_ns = gate.gate_canary_s * SECOND_NS / 2
    end_ns = clock() + half_ns
    while True:
        canary()
        if clock() >= end_ns:
            break
    timed: list[int] = []
    end_ns = clock() + half_ns
    while True:
        before_ns = clock()
        canary()
        after_ns = clock()
        timed.append(after_ns - before_ns)
        if len(timed) >= _MIN_CANARY_RUNS and after_ns >= end_ns:
            return median_low(timed)


def _time_slice(runs: GatedRuns, invoke: Invoke, clock: Clock, gate: Gate, *, drops_first: bool) -> None:
    samples, before = runs.samples_ns, len(runs.samples_ns)
    begin_ns = clock()
    end_ns = begin_ns + gate.gate_slice_s * SECOND_NS
    if drops_first:
        invoke()
        runs.slice_first_ns.append(clock() - begin_ns)
    while True:
        before_ns = clock()
        invoke()
        after_ns = clock()
        samples.append(after_ns - before_ns)
        if after_ns >= end_ns:
            runs.slice_runs.append(len(samples) - before)
            runs.slice_ns.append(sum(samples[before:]))
            return


def _has_ended(runs: GatedRuns, bounds: Bounds, gate: Gate) -> bool:
    if len(runs.samples_ns) < bounds.few_runs:
        return runs.run_ns >= bounds.few_runs_max_s * SECOND_NS
    if runs.run_ns >= bounds.max_s * SECOND_NS:
        return True
    counted = select(runs.canaries_ns, runs.learning_ns, gate).counted
    counted_runs = sum(compress(runs.slice_runs, counted))
    counted_ns = sum(compress(runs.slice_ns, counted))
    enough = counted_runs >= bounds.min_runs and counted_ns >= bounds.min_s * SECOND_NS
    patience_s = max(bounds.max_s / 4, _PATIENCE_S)
    hopeless = runs.run_ns >= patience_s * SECOND_NS and sum(counted) < _HOPEFUL_SLICES
    return hopeless or (enough and sum(counted) >= MIN_SLICES)
