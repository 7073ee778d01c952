"""Quiet: the machine's own conversions do not disturb a measurement on it.

From four cores on conversions and measurements have cores of their own;
below, they take turns through two `flock` files in one folder, which the
kernel frees when a holder dies, in whatever container. `want` belongs to the one measurer of the
machine, `busy` is shared by the conversions that run and exclusive to a
measurement. Both sides poll, so nobody waits in the kernel without a deadline.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final, Self

from nnlite.errors import Stopped
from nnlite.host.cores import Cores
from nnlite.host.locks import FileLock
from nnlite.host.processes import POLL_S
from nnlite.vocabulary import QuietMode

#: Converters look at `want` every 100 ms; after this long each of them has looked.
NOTICE_S: Final = 0.5


def _locks(folder: Path) -> tuple[FileLock, FileLock]:
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "want", mode=0o660), FileLock(folder / "busy", mode=0o660)


class _Turn(Enum):
    RUNNING = auto()  # `busy` is held, the child runs
    STOPPING = auto()  # the child is being stopped; `busy` is still held
    WAITING = auto()  # the child stands still; `busy` is free for a measurer


class ConverterLock:
    """A conversion's side of quiet: may its child run now?

    The supervisor calls `tick()` every 100 ms, the first time before it makes
    the child. `True`: run (SIGCONT if it was stopped). `False`: stop the
    child's group with SIGSTOP and go on calling. `busy` is given back by the
    call *after* the `False` that stopped the child, so a measurement never
    begins beside a child that still runs. Call `close()` once the child is
    gone. With cores apart every tick is `True` and no file is touched.
    """

    def __init__(self, folder: Path, cores: Cores) -> None:
        """Args: `folder` is `settings.quiet`; `cores` comes from `cores_of`."""
        self._locks = _locks(folder) if cores.mode is QuietMode.TIME_SLICED else None
        self._turn = _Turn.WAITING

    def tick(self) -> bool:
        """Return whether the child may run from now on."""
        if self._locks is None:
            return True
        want, busy = self._locks
        wanted = not want.is_free(shared=True)
        match self._turn:
            case _Turn.RUNNING if wanted:
                self._turn = _Turn.STOPPING
            case _Turn.STOPPING:
                busy.release()
                self._turn = _Turn.WAITING
            case _Turn.WAITING if not wanted and busy.try_shared():
                self._turn = _Turn.RUNNING
            case _:
                pass
        return self._turn is _Turn.RUNNING

    def close(self) -> None:
        """Release everything; for use when no child is left."""
        for lock in self._locks or ():
            lock.close()
        self._locks = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class QuietResult:
    """What a measurer got."""

    mode: QuietMode
    #: False: the machine's other work went on; the measurement is `not_quiet`.
    quiet: bool
    waited_s: float


@dataclass(frozen=True, kw_only=True)
class _FairShareState:
    """What all measurers together owe the converters; kept in the `want` file."""

    #: Measuring time less the time that converters had meanwhile, when `want` was last released.
    used_s: float = 0.0
    released_at_s: float = 0.0

    @classmethod
    def read(cls, want: FileLock) -> Self:
        try:
            fields = json.loads(want.read())
            ledger = cls(used_s=float(fields["used_s"]), released_at_s=float(fields["released_at_s"]))
        except (ValueError, TypeError, KeyError):
            return cls()  # new, or half-written by a holder that was killed
        # A time ahead of the clock was written before the machine was started anew.
        return ledger if 0 <= ledger.released_at_s <= time.monotonic() else cls()

    def write(self, want: FileLock) -> None:
        want.write(json.dumps({"used_s": self.used_s, "released_at_s": self.released_at_s}))


class MeasurementLock:
    """A measurement's side of quiet. One per worker; not for use by two threads at once."""

    def __init__(self, folder: Path, cores: Cores, *, timeout_s: float, batch_s: float) -> None:
        """Args: `folder` is `settings.quiet`; the others are `quiet_timeout_s` and `quiet_batch_s`."""
        self._mode = cores.mode
        self._timeout_s = timeout_s
        self._batch_s = batch_s
        self._want, self._busy = _locks(folder)

    @contextmanager
    def measuring(self, stop: threading.Event) -> Iterator[QuietResult]:
        """Hold the machine's other work still while the block runs, from canary to canary.

        First the converters get the turn that is owed to them; then `want` and
        `busy` are locked, both within `timeout_s`, else the block runs with
        `quiet` False and without a lock.

        Raises:
            Stopped: `stop` was set while this waited.
        """
        started_s = time.monotonic()
        quiet = self._lock(stop)
        held_from_s = time.monotonic()
        try:
            yield QuietResult(mode=self._mode, quiet=quiet, waited_s=held_from_s - started_s)
        finally:
            if quiet:
                self._note_turn(held_from_s)
            self._unlock()

    def close(self) -> None:
        """Release everything."""
        self._want.close()
        self._busy.close()

    def _lock(self, stop: threading.Event) -> bool:
        deadline_s = time.monotonic() + self._timeout_s
        locked = False
        try:
            while _taken_until(self._want, deadline_s, stop):
                if owed_s := self._owed_s():
                    # Standing back is no waiting for a lock: its time does not count.
                    self._want.release()
                    deadline_s += self._stand_back(owed_s, stop)
                    continue
                locked = self._mode is QuietMode.PINNED_CORES or _taken_until(self._busy, deadline_s, stop)
                break
            return locked
        finally:
            if not locked:
                self._unlock()

    def _unlock(self) -> None:
        self._busy.release()
        self._want.release()

    def _owed_s(self) -> float:
        """Seconds of turn that converters must have had before the next measurement; under `want`.

        Never more than two batches: what one very slow model held beyond that
        is not made up for, or the next benchmark would miss its deadline.
        """
        if self._mode is QuietMode.PINNED_CORES:
            return 0.0
        ledger = _FairShareState.read(self._want)
        if ledger.used_s < self._batch_s:
            return 0.0
        rested_s = time.monotonic() - ledger.released_at_s
        return max(0.0, min(ledger.used_s, 2 * self._batch_s) - rested_s)

    def _note_turn(self, held_from_s: float) -> None:
        now_s = time.monotonic()
        ledger = _FairShareState.read(self._want)
        debt_s = max(0.0, ledger.used_s - (held_from_s - ledger.released_at_s))
        _FairShareState(used_s=debt_s + now_s - held_from_s, released_at_s=now_s).write(self._want)

    def _stand_back(self, owed_s: float, stop: threading.Event) -> float:
        """Let converters run for `owed_s`, or until none of them runs; returns the seconds it took."""
        started_s = time.monotonic()
        while (passed_s := time.monotonic() - started_s) < owed_s:
            _pause(stop, min(NOTICE_S, owed_s - passed_s))
            if self._want.try_exclusive():
                idle = self._busy.is_free()
                if idle:
                    _FairShareState().write(self._want)
                self._want.release()
                if idle:
                    break
        return time.monotonic() - started_s


def _taken_until(lock: FileLock, deadline_s: float, stop: threading.Event) -> bool:
    while not lock.try_exclusive():
        if time.monotonic() >= deadline_s:
            return False
        _pause(stop, POLL_S)
    return True


def _pause(stop: threading.Event, pause_s: float) -> None:
    if stop.wait(pause_s):
        raise Stopped("stopped while waiting for a quiet machine")
