"""One run of the app as the host sees it while it goes on, and when it must be over.

Only the host's clock counts, and only what the app says of its stages: how it
ended is the parser's to tell, what follows from that is `run`'s.
"""

import time
from collections.abc import Callable
from typing import Final

from nnlite.settings import Settings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.app.chunks import ChunkAssembler, Piece
from nnlite_benchmark.android.app.instrumentation import (
    AttemptEnd,
    Garbled,
    InstrumentationParser,
    Reported,
    StageEntered,
)
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.protocol.deadlines import Deadlines

OnStage = Callable[[Stage], None]

#: From the app's last word to the end of `am instrument`, seconds.
_END_TIMEOUT_S: Final = 10.0


class RunMonitor:
    """What the host knows of a run while it goes on: stage, PID, pieces, and when it must be over."""

    def __init__(self, settings: Settings, on_stage: OnStage) -> None:
        """Begin to follow a run that is about to be started.

        Args:
            settings: what sets the limits.
            on_stage: hears each stage that the app enters.
        """
        self._deadlines = Deadlines.of(settings.measurement)
        self._pull_grace_s = settings.android.pull_grace_s
        self._parser = InstrumentationParser()
        self._on_stage = on_stage
        self._first_inference_s = 0.0
        self._begin(settings.android.app_start_timeout_s)
        self._has_ended = False
        #: What the pieces lack.
        self._wrong: str | None = None
        #: Where the app is; None: it has not said a word.
        self.stage: Stage | None = None
        #: Of the app's process, as it says.
        self.pid: int | None = None
        #: The files that come as status pieces.
        self.pieces = ChunkAssembler()

    def feed(self, data: bytes) -> None:
        """Read what the app printed."""
        self._take(self._parser.feed(data))
        if self._parser.ended and not self._has_ended:
            self._has_ended = True
            self._begin(_END_TIMEOUT_S)

    def look(self) -> None:
        """Raise `bad_report` for an answer that makes no sense, `app_hung` when something takes too long."""
        where = self.stage or Stage.INITIALIZE
        if self._parser.garbled is not None:
            raise unreadable(where, self._parser.garbled)
        if time.monotonic() - self._since_s <= self._limit_s:
            return
        if self._has_ended:
            what = "said its last word, but does not end"
        else:
            what = f"does not finish {where}" if self.stage else "does not begin"
        raise DeviceFailure(Fault.APP_HUNG, where, f"the app {what} within {self._limit_s:.0f} s; ended it")

    def finish(self) -> AttemptEnd:
        """Return how it ended."""
        events, ending = self._parser.finish()
        self._take(events)
        return Garbled(why=self._wrong) if self._wrong and isinstance(ending, Reported) else ending

    def _take(self, events: list[StageEntered | Piece]) -> None:
        for event in events:
            if isinstance(event, Piece):
                try:
                    self.pieces.add(event)
                except ValueError as error:
                    self._wrong = str(error)
                continue
            self.stage, self.pid = event.stage, event.pid
            if event.stage is Stage.WARM_UP:
                # The device's own number may be anything; it cannot have taken longer than we waited.
                first_s = (event.first_inference_ns or 0) / 1e9
                self._first_inference_s = min(first_s, time.monotonic() - self._since_s)
            limit_s = self._deadlines.limit_s(event.stage, self._first_inference_s)
            self._begin(limit_s + self._pull_grace_s if event.stage is Stage.RUN else limit_s)
            self._on_stage(event.stage)

    def _begin(self, limit_s: float) -> None:
        self._since_s, self._limit_s = time.monotonic(), limit_s


def unreadable(stage: Stage, why: str) -> DeviceFailure:
    """Return the failure of an app whose answer makes no sense."""
    return DeviceFailure(Fault.BAD_REPORT, stage, f"the app's answer cannot be read: {why}")
