"""Noise isolation: keeps conversions from disturbing measurements on the same machine.

From four cores on, conversions and measurements are pinned to different cores.
Below that, two `flock` files exclude each other's processes, also across
containers; the kernel frees them when a holder dies. `request.lock` is held by
the machine's only measurement; `activity.lock` is shared by running conversions
and exclusive to a measurement, and its text says who had the measuring cores
last. Both sides poll, so that no wait is without a deadline.
"""

import json
import threading
import time
import uuid
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
from nnlite.settings import Settings
from nnlite.vocabulary import QuietMode

#: Poll interval while converters run. They check `request.lock` every 100 ms, so each has noticed by then.
YIELD_POLL_S: Final = 0.5


def _locks(folder: Path) -> tuple[FileLock, FileLock]:
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "request.lock", mode=0o660), FileLock(folder / "activity.lock", mode=0o660)


class _State(Enum):
    RUNNING = auto()  # activity.lock is held, the child runs
    STOPPING = auto()  # the child is being stopped; activity.lock is still held
    WAITING = auto()  # the child is stopped; activity.lock is free for a measurement


class ConverterLock:
    """A conversion's side of the noise isolation: decides whether its child may run now.

    The supervisor calls `tick()` every 100 ms, the first time before it starts the child. `True`: run
    (SIGCONT if it was stopped). `False`: stop the child's group with SIGSTOP and continue to call.
    `activity.lock` is released by the call *after* the `False` that stopped the child, so a measurement
    never begins while a child still runs. Call `close()` once the child has ended. With pinned cores every
    tick is `True` and no file is used.
    """

    def __init__(self, folder: Path, cores: Cores) -> None:
        """Args: `folder` is `settings.quiet`; `cores` comes from `cores_of`."""
        self._locks = _locks(folder) if cores.mode is QuietMode.TIME_SLICED else None
        self._state = _State.WAITING

    def tick(self) -> bool:
        """Return whether the child may run from now on."""
        if self._locks is None:
            return True
        request, activity = self._locks
        requested = not request.is_free(shared=True)
        match self._state:
            case _State.RUNNING if requested:
                self._state = _State.STOPPING
            case _State.STOPPING:
                activity.release()
                self._state = _State.WAITING
            case _State.WAITING if not requested and activity.try_shared():
                activity.write("")  # the last measurement is no longer the last that ran
                self._state = _State.RUNNING
            case _:
                pass
        return self._state is _State.RUNNING

    def close(self) -> None:
        """Release the locks; call it when no child is left."""
        for lock in self._locks or ():
            lock.close()
        self._locks = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class QuietResult:
    """How a measurement was isolated."""

    mode: QuietMode
    #: False: conversions may have run; the measurement is `not_quiet`.
    quiet: bool
    waited_s: float
    #: Since this worker's last measurement nothing else of nnlite ran on the measuring cores.
    undisturbed: bool


@dataclass(frozen=True, kw_only=True)
class _FairShareState:
    """Measuring time for which converters have not been compensated; stored in `request.lock`."""

    #: Measuring time minus the time that converters had since, when `request.lock` was last released.
    used_s: float = 0.0
    released_at_s: float = 0.0

    @classmethod
    def read(cls, request: FileLock) -> Self:
        try:
            fields = json.loads(request.read())
            share = cls(used_s=float(fields["used_s"]), released_at_s=float(fields["released_at_s"]))
        except (ValueError, TypeError, KeyError):
            return cls()  # new, or half-written by a holder that was killed
        # A time ahead of the monotonic clock was written before a reboot.
        return share if 0 <= share.released_at_s <= time.monotonic() else cls()

    def write(self, request: FileLock) -> None:
        request.write(json.dumps({"used_s": self.used_s, "released_at_s": self.released_at_s}))


class MeasurementLock:
    """A measurement's side of the noise isolation. One per worker; not thread-safe."""

    def __init__(self, folder: Path, cores: Cores, *, timeout_s: float, batch_s: float) -> None:
        """Args: `folder` is `settings.quiet`; the others are `quiet_timeout_s` and `quiet_batch_s`."""
        self._mode = cores.mode
        self._timeout_s = timeout_s
        self._batch_s = batch_s
        self._request, self._activity = _locks(folder)
        #: What its last measurement wrote into `activity.lock`; None: that one had no lock, or is to come.
        self._written: str | None = None

    @contextmanager
    def measuring(self, stop: threading.Event) -> Iterator[QuietResult]:
        """Keep conversions stopped while the block runs, from canary to canary.

        First, converters run for the time debt (fair share). Then `request.lock` and `activity.lock` are
        taken, both within `timeout_s`; otherwise the block runs with `quiet` False and without a lock.

        Raises:
            Stopped: `stop` was set during the wait.
        """
        started_s = time.monotonic()
        quiet = self._lock(stop)
        held_from_s = time.monotonic()
        undisturbed = quiet and self._written is not None and self._activity.read() == self._written
        self._written = None
        try:
            yield QuietResult(
                mode=self._mode, quiet=quiet, waited_s=held_from_s - started_s, undisturbed=undisturbed
            )
        finally:
            if quiet:
                self._record_usage(held_from_s)
                self._written = uuid.uuid4().hex
                self._activity.write(self._written)
            self._unlock()

    def close(self) -> None:
        """Release the locks."""
        self._request.close()
        self._activity.close()

    def _lock(self, stop: threading.Event) -> bool:
        deadline_s = time.monotonic() + self._timeout_s
        locked = False
        try:
            while _acquire(self._request, deadline_s, stop):
                if debt_s := self._time_debt_s():
                    # Yielding is not waiting for a lock: its time does not count.
                    self._request.release()
                    deadline_s += self._yield_to_converters(debt_s, stop)
                    continue
                locked = self._mode is QuietMode.PINNED_CORES or _acquire(self._activity, deadline_s, stop)
                break
            return locked
        finally:
            if not locked:
                self._unlock()

    def _unlock(self) -> None:
        self._activity.release()
        self._request.release()

    def _time_debt_s(self) -> float:
        """Seconds for which converters must run before the next measurement. Call with `request.lock` held.

        At most two batches: the time of a very slow model beyond that is not compensated, or the next
        benchmark would miss its deadline.
        """
        if self._mode is QuietMode.PINNED_CORES:
            return 0.0
        share = _FairShareState.read(self._request)
        if share.used_s < self._batch_s:
            return 0.0
        since_s = time.monotonic() - share.released_at_s
        return max(0.0, min(share.used_s, 2 * self._batch_s) - since_s)

    def _record_usage(self, held_from_s: float) -> None:
        now_s = time.monotonic()
        share = _FairShareState.read(self._request)
        debt_s = max(0.0, share.used_s - (held_from_s - share.released_at_s))
        _FairShareState(used_s=debt_s + now_s - held_from_s, released_at_s=now_s).write(self._request)

    def _yield_to_converters(self, debt_s: float, stop: threading.Event) -> float:
        """Let converters run for `debt_s`, or until none is active; returns the seconds it took."""
        started_s = time.monotonic()
        while (passed_s := time.monotonic() - started_s) < debt_s:
            _sleep(stop, min(YIELD_POLL_S, debt_s - passed_s))
            if self._request.try_exclusive():
                idle = self._activity.is_free()
                if idle:
                    _FairShareState().write(self._request)
                self._request.release()
                if idle:
                    break
        return time.monotonic() - started_s


def measurement_lock(settings: Settings, cores: Cores) -> MeasurementLock:
    """Return the lock of a worker that measures on `cores`, with the limits of the settings."""
    limits = settings.measurement
    return MeasurementLock(
        settings.quiet, cores, timeout_s=limits.quiet_timeout_s, batch_s=limits.quiet_batch_s
    )


def _acquire(lock: FileLock, deadline_s: float, stop: threading.Event) -> bool:
    while not lock.try_exclusive():
        if time.monotonic() >= deadline_s:
            return False
        _sleep(stop, POLL_S)
    return True


def _sleep(stop: threading.Event, pause_s: float) -> None:
    if stop.wait(pause_s):
        raise Stopped("stopped while waiting for a quiet machine")
