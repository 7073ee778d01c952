"""Exponential back-off: how long to pause after the nth failure in a row."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Pauses that double with each failure, from `first_s` up to `max_s`."""

    first_s: float
    max_s: float

    def pause_s(self, earlier_failures: int) -> float:
        """Return the pause after a failure that `earlier_failures` came before."""
        return min(self.first_s * 2.0 ** min(earlier_failures, 60), self.max_s)
