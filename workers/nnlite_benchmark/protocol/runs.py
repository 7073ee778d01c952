"""The measurement protocol: stop rules of warm-up and timed runs, and repetition after canary drift.

Pure functions of a clock and a callable, which tests drive with a simulated
clock. The measuring process imports this module, so it imports the standard
library only.
"""

import base64
import sys
import zlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Generic, Self, TypeVar

#: A monotonic clock in nanoseconds.
Clock = Callable[[], int]
Invoke = Callable[[], object]
Result = TypeVar("Result")

SECOND_NS: Final = 1_000_000_000

_CANARY_LEAST_RUNS: Final = 6
_CANARY_STEADY: Final = 0.01
_CANARY_NEAR: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of warm-up and timed runs; `MeasurementSettings` explains them."""

    warmup_min_runs: int
    warmup_min_s: float
    warmup_max_s: float
    warmup_agreeing_runs: int
    warmup_tolerance: float
    min_runs: int
    min_s: float
    max_s: float
    few_runs: int
    few_runs_max_s: float

    @classmethod
    def least(cls) -> Self:
        """Return the bounds of a run whose inferences do not matter: one of warm-up, one timed."""
        return cls(
            warmup_min_runs=1,
            warmup_min_s=0,
            warmup_max_s=0,
            warmup_agreeing_runs=0,
            warmup_tolerance=1,
            min_runs=1,
            min_s=0,
            max_s=0,
            few_runs=1,
            few_runs_max_s=0,
        )

    @classmethod
    def of(cls, values: Mapping[str, Any] | object) -> Self:
        """Return the bounds from a mapping or the settings; other entries are ignored."""
        get = values.__getitem__ if isinstance(values, Mapping) else lambda name: getattr(values, name)
        return cls(**{field.name: get(field.name) for field in fields(cls)})


class RunningMeans:
    """A fast and a slow running mean of run times; they agree once runs no longer become faster.

    The weights are androidx.benchmark's (its `WarmupManager`). Unlike there both begin as plain means, so
    that one slow first run does not keep the slow mean apart for hundreds of runs; and runs that become
    slower are no warm-up, so that a core of two speeds does not make each last until its maximum.
    """

    _FAST: Final = 0.1
    _SLOW: Final = 0.005

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._runs = 0
        self._fast = self._slow = 0.0
        #: For how many runs they have agreed.
        self.agreeing_runs = 0

    def add(self, duration_ns: int) -> None:
        """Add the next run."""
        self._runs += 1
        self._fast += max(self._FAST, 1 / self._runs) * (duration_ns - self._fast)
        self._slow += max(self._SLOW, 1 / self._runs) * (duration_ns - self._slow)
        agree = self._fast >= (1 - self._tolerance) * self._slow
        self.agreeing_runs = self.agreeing_runs + 1 if agree else 0


def warm_up(invoke: Invoke, clock: Clock, bounds: Bounds) -> tuple[int, int]:
    """Invoke until runs no longer become faster, within minimum and maximum; at least once.

    Warm-up ends when `warmup_min_runs` and `warmup_min_s` are reached and the running means agree, or at
    `warmup_max_s`.

    Returns:
        The number of runs and their total duration in nanoseconds.
    """
    means, runs = RunningMeans(bounds.warmup_tolerance), 0
    begin_ns = now_ns = clock()
    while True:
        before_ns = now_ns
        invoke()
        now_ns, runs = clock(), runs + 1
        means.add(now_ns - before_ns)
        if warm_up_ends(runs, now_ns - begin_ns, means.agreeing_runs, bounds):
            return runs, now_ns - begin_ns


def warm_up_ends(runs: int, elapsed_ns: int, agreeing_runs: int, bounds: Bounds) -> bool:
    """Return whether the warm-up ends after `runs` runs and `elapsed_ns`."""
    enough = runs >= bounds.warmup_min_runs and elapsed_ns >= bounds.warmup_min_s * SECOND_NS
    steady = agreeing_runs >= bounds.warmup_agreeing_runs
    return (enough and steady) or elapsed_ns >= bounds.warmup_max_s * SECOND_NS


def timed_runs(
    invoke: Invoke,
    clock: Clock,
    bounds: Bounds,
    *,
    is_enough: Callable[["array[int]"], bool] = lambda _: False,
) -> tuple["array[int]", int]:
    """Time runs until the stop rule holds, which is checked after each run.

    They end at (`min_runs` and `min_s`) or at `max_s`; with fewer than `few_runs` they continue to that
    number, or to `few_runs_max_s` in total. `is_enough` ends them earlier, and is told the samples so far.

    Returns:
        Every sample in nanoseconds, in order, and the nanoseconds from the
        first run's start to the last one's end.
    """
    samples = array("q")
    begin_ns = clock()
    while True:
        before_ns = clock()
        invoke()
        after_ns = clock()
        samples.append(after_ns - before_ns)
        if is_enough(samples) or timed_runs_end(len(samples), after_ns - begin_ns, bounds):
            return samples, after_ns - begin_ns


def canary_runs(invoke: Invoke, clock: Clock, bounds: Bounds, before_ns: int) -> tuple["array[int]", int]:
    """Time runs of the canary until they tell its speed, at most those of `timed_runs`.

    Six runs or more tell it if the slowest of their fastest quarter is within 1 % of the fastest, and within
    5 % of the canary before; a core of changing speed makes all of them.

    Args:
        invoke: runs the canary once.
        clock: a monotonic clock.
        bounds: of the runs.
        before_ns: what the canary before took; 0: there is none.

    Returns:
        As `timed_runs`.
    """

    def is_told(samples: "array[int]") -> bool:
        if len(samples) < _CANARY_LEAST_RUNS:
            return False
        fastest_ns, quarter_ns = min(samples), sorted(samples)[len(samples) // 4]
        near = not before_ns or abs(quarter_ns - before_ns) <= _CANARY_NEAR * before_ns
        return near and quarter_ns <= (1 + _CANARY_STEADY) * fastest_ns

    return timed_runs(invoke, clock, bounds, is_enough=is_told)


def timed_runs_end(runs: int, elapsed_ns: int, bounds: Bounds) -> bool:
    """Return whether the timed runs end after `runs` runs and `elapsed_ns`."""
    if runs >= bounds.min_runs and elapsed_ns >= bounds.min_s * SECOND_NS:
        return True
    if runs >= bounds.few_runs:
        return elapsed_ns >= bounds.max_s * SECOND_NS
    return elapsed_ns >= bounds.few_runs_max_s * SECOND_NS


def encode_samples(samples: "array[int]") -> str:
    """Return the samples in a run report's encoding: base64 of zlib of little-endian int64."""
    packed = array("q", samples)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(zlib.compress(packed.tobytes(), 1)).decode("ascii")


@dataclass(frozen=True, kw_only=True)
class CanaryGuarded(Generic[Result]):
    """A result between two canaries."""

    result: Result
    before_ns: int
    after_ns: int
    #: |after - before| / before.
    drift: float
    repeated: bool
    #: The first canary is the last one of the measurement before.
    reused: bool


def between_canaries(
    canary: Callable[[int], int],
    measure: Callable[[], Result],
    max_drift: float,
    is_gated: Callable[[Result], bool] = lambda _: False,
    *,
    before_ns: int | None = None,
) -> CanaryGuarded[Result]:
    """Measure between two canaries; repeat once if the canary drifted.

    Args:
        canary: runs the canary; returns its 25th percentile in nanoseconds. It is told what the canary before
            the measurement took; 0: it is that one.
        measure: the measurement itself.
        max_drift: limit of |after - before| / before.
        is_gated: whether a result has canaries of its own: it is not repeated.
        before_ns: a canary that ended just now, used as the first; None: it is run.

    Returns:
        The last measurement; its drift may still exceed the limit.
    """
    reused = before_ns is not None
    first_ns = canary(0) if before_ns is None else before_ns
    guarded = _once(first_ns, canary, measure, reused=reused)
    if guarded.drift <= max_drift or is_gated(guarded.result):
        return guarded
    return _once(guarded.after_ns, canary, measure, repeated=True)


def canary_drift(before_ns: int, after_ns: int) -> float:
    """Return by how much the canary changed, relative to its first duration."""
    return abs(after_ns - before_ns) / max(before_ns, 1)


def _once(
    before_ns: int,
    canary: Callable[[int], int],
    measure: Callable[[], Result],
    *,
    repeated: bool = False,
    reused: bool = False,
) -> CanaryGuarded[Result]:
    result, after_ns = measure(), canary(before_ns)
    return CanaryGuarded(
        result=result,
        before_ns=before_ns,
        after_ns=after_ns,
        drift=canary_drift(before_ns, after_ns),
        repeated=repeated,
        reused=reused,
    )
