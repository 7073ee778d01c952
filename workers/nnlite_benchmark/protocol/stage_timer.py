"""Measures how long an attempt is in each of its stages."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from nnlite.vocabulary import Stage


@dataclass
class StageTimer:
    """Sums the wall time of consecutive stages, which may repeat."""

    _spent_ns: defaultdict[Stage, int] = field(default_factory=lambda: defaultdict(int))
    _stage: Stage | None = None
    _since_ns: int = 0

    def enter(self, stage: Stage) -> None:
        """Start timing `stage`; entering the current stage again is allowed."""
        now_ns = time.monotonic_ns()
        if self._stage is not None:
            self._spent_ns[self._stage] += now_ns - self._since_ns
        self._stage, self._since_ns = stage, now_ns

    def timings_ns(self) -> dict[str, int]:
        """Return the time in each stage until now, in nanoseconds."""
        if self._stage is not None:
            self.enter(self._stage)
        return {stage.value: spent_ns for stage, spent_ns in self._spent_ns.items()}
