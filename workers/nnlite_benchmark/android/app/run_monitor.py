"""Follows a run of the app: its stage, PID and chunks, and the deadline of each stage.

Only the host's clock counts. The parser decides how the run ended; `run` acts on
that.
"""

import time
from collections.abc import Callable
from typing import Final

from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.shell import CommandResult
from nnlite_benchmark.android.app.chunks import Chunk, ChunkAssembler
from nnlite_benchmark.android.app.instrumentation import (
    Event,
    Garbled,
    InstrumentationParser,
    Reported,
    RunEnd,
    WindowMissing,
)
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.protocol.deadlines import stage_limit_s

OnStage = Callable[[Stage], None]

#: From the app's result to the end of `am instrument`, seconds.
_END_TIMEOUT_S: Final = 10.0


class RunMonitor:
    """Tracks stage, PID, chunks and deadline of a run in progress."""

    def __init__(
        self,
        settings: Settings,
        limits: MeasurementSettings,
        on_stage: OnStage,
        on_window_missing: Callable[[], None],
    ) -> None:
        """Start the deadline of a run that is about to begin.

        Args:
            settings: deadlines of the device.
            limits: bounds of the run's stages.
            on_stage: called with each stage of the app.
            on_window_missing: called when the app's window does not come to the front, at most once.
        """
        self._measurement = limits
        #: Longest wait beyond a stage's own limit: for a cool device, and for the report.
        self._wait_s = {
            Stage.INITIALIZE: settings.phone.cool_s,
            Stage.RUN: settings.android.pull_grace_s,
        }
        self._parser = InstrumentationParser()
        self._on_stage = on_stage
        self._on_window_missing = on_window_missing
        self._first_inference_s = 0.0
        self._begin(settings.android.app_start_timeout_s)
        #: The app has sent its result.
        self.has_ended = False
        #: Why a chunk was invalid.
        self._chunk_error: str | None = None
        #: The app's stage; None: no output yet.
        self.stage: Stage | None = None
        #: PID of the app's process, as it reports.
        self.pid: int | None = None
        #: Files that are sent as chunks.
        self.chunks = ChunkAssembler()

    def feed(self, data: bytes) -> None:
        """Parse the app's output."""
        self._take(self._parser.feed(data))
        if self._parser.ended and not self.has_ended:
            self.has_ended = True
            self._begin(_END_TIMEOUT_S)

    def check(self) -> None:
        """Raise `bad_report` for invalid output, `app_hung` after a deadline."""
        where = self.stage or Stage.INITIALIZE
        if self._parser.garbled is not None:
            raise unreadable(where, self._parser.garbled)
        if time.monotonic() - self._since_s <= self._limit_s:
            return
        if self.has_ended:
            problem = "sent its result, but does not end"
        else:
            problem = f"does not finish {where}" if self.stage else "does not begin"
        reason = f"the app {problem} within {self._limit_s:.0f} s; ended it"
        raise DeviceFailure(Fault.APP_HUNG, where, reason)

    def finish(self, result: CommandResult) -> RunEnd:
        """Return how the run ended; `result` is that of `am instrument`."""
        events, end = self._parser.finish(stderr=result.stderr, status=result.status)
        self._take(events)
        return Garbled(why=self._chunk_error) if self._chunk_error and isinstance(end, Reported) else end

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, WindowMissing):
                on_window_missing, self._on_window_missing = self._on_window_missing, lambda: None
                on_window_missing()
                continue
            if isinstance(event, Chunk):
                try:
                    self.chunks.add(event)
                except ValueError as error:
                    self._chunk_error = str(error)
                continue
            self.stage, self.pid = event.stage, event.pid
            if event.stage is Stage.WARM_UP:
                # The device's number is untrusted; it cannot have taken longer than we waited.
                first_s = (event.first_inference_ns or 0) / 1e9
                self._first_inference_s = min(first_s, time.monotonic() - self._since_s)
            limit_s = stage_limit_s(self._measurement, event.stage, self._first_inference_s)
            self._begin(limit_s + self._wait_s.get(event.stage, 0.0))
            self._on_stage(event.stage)

    def _begin(self, limit_s: float) -> None:
        self._since_s, self._limit_s = time.monotonic(), limit_s


def unreadable(stage: Stage, why: str) -> DeviceFailure:
    """Return the failure of an app whose output is invalid."""
    return DeviceFailure(Fault.BAD_REPORT, stage, f"the app's output cannot be read: {why}")
