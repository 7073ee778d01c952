"""Simulated clock of measurements on a virtual device: the model decides the duration of an inference.

A busy machine changes nothing: the number of runs, their times and the verdict
on them are the same each time.
"""

from itertools import cycle
from typing import Final

_INFERENCE_NS: Final = 1_000_000
_NS_PER_BYTE: Final = 10
#: Duration of loading and planning, in inferences.
_INITIALIZATION: Final = 5
#: Duration of the first inference, in inferences.
_FIRST: Final = 3
#: The times of successive inferences, in percent of the usual one.
_SPREAD: Final = (100, 101, 99, 100, 102, 100, 98)


class SimulatedClock:
    """A monotonic clock in nanoseconds that only work of the runtime advances."""

    def __init__(self, model_bytes: int) -> None:
        """Start a clock for a model of this size."""
        self._usual_ns = _INFERENCE_NS + _NS_PER_BYTE * model_bytes
        self._now_ns = 0
        self._spread = cycle(_SPREAD)

    def __call__(self) -> int:
        """Return the time now."""
        return self._now_ns

    def initialized(self) -> None:
        """Advance by the duration of loading."""
        self._now_ns += _INITIALIZATION * self._usual_ns

    def inferred_first(self) -> None:
        """Advance by the duration of the first inference."""
        self._now_ns += _FIRST * self._usual_ns

    def inferred_again(self) -> None:
        """Advance by the duration of an inference after the first."""
        self._now_ns += self._usual_ns * next(self._spread) // 100
