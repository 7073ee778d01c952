"""How long an attempt is in each of its stages."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from nnlite.vocabulary import Stage


@dataclass
class StageClock:
    """Adds up the wall clock of stages that follow each other and may come again."""

    _spent_ns: defaultdict[Stage, int] = field(default_factory=lambda: defaultdict(int))
    _stage: Stage | None = None
    _since_ns: int = 0

    def enter(self, stage: Stage) -> None:
        """The attempt is at `stage` from now on; more than once is no harm."""
        now_ns = time.monotonic_ns()
        if self._stage is not None:
            self._spent_ns[self._stage] += now_ns - self._since_ns
        self._stage, self._since_ns = stage, now_ns

    def timings_ns(self) -> dict[str, int]:
        """Return what each stage took until now."""
        if self._stage is not None:
            self.enter(self._stage)
        return {stage.value: spent_ns for stage, spent_ns in self._spent_ns.items()}
