"""Quiet: the machine's own conversions do not disturb a measurement on it.

From four cores on conversions and measurements have cores of their own;
below, they take turns through two `flock` files in `HOME/quiet`, which the
kernel frees when a holder dies. `want` belongs to the one measurer of the
machine, `busy` is shared by the conversions that run and exclusive to a
measurement. Both sides poll, so nobody waits in the kernel without a deadline.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final, Self

from nnlite.failures import NnliteError
from nnlite.results.report import QuietMode
from nnlite.settings import SettingsError

#: From this many logical processors on, cores are kept apart.
CORES_TO_SPLIT: Final = 4
TOPOLOGY: Final = Path("/sys/devices/system/cpu")
#: Seconds between two tries at a lock.
POLL_S: Final = 0.02
#: Converters look at `want` every 100 ms; after this long each of them has looked.
NOTICE_S: Final = 0.5


class Stopped(NnliteError):
    """The worker was told to stop while it waited or measured; what it had begun was undone."""


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Which logical processors measure and which convert."""

    mode: QuietMode
    measuring: tuple[int, ...]
    converting: tuple[int, ...]


def choose_cores(
    setting: str = "", available: Collection[int] | None = None, topology: Path = TOPOLOGY
) -> Cores:
    """Return the machine's cores for measuring and for converting; every process gets the same answer.

    Whole physical cores are given, so that a conversion never shares one with
    a measurement, which runs on one thread of each of its own.

    Args:
        setting: `settings.measurement.cores`, such as `2,3` or `4-7`; empty: the last half of the
            machine's cores, where it has at least four.
        available: the logical processors to choose from; default: those of this process.
        topology: where Linux says which of them share a physical core.

    Raises:
        SettingsError: the setting names a core that this process may not use, or is no list of cores.
    """
    usable = sorted(available if available is not None else available_cores())
    wanted = _parsed(setting)
    if missing := [core for core in wanted if core not in usable]:
        raise SettingsError(
            f"NNLITE_MEASUREMENT__CORES={setting}: no core {missing[0]} here; use some of {_listed(usable)}"
        )
    units = _physical(usable, topology)
    if wanted:
        measuring_units = [unit for unit in units if set(unit) & set(wanted)]
    else:
        measuring_units = units[(len(units) + 1) // 2 :]
        wanted = [unit[0] for unit in measuring_units]
    converting = tuple(core for unit in units if unit not in measuring_units for core in unit)
    if len(usable) < CORES_TO_SPLIT or not wanted or not converting:
        turns = tuple(wanted) if setting.strip() else tuple(usable)
        return Cores(mode=QuietMode.TURNS, measuring=turns, converting=tuple(usable))
    return Cores(mode=QuietMode.CORES_APART, measuring=tuple(wanted), converting=converting)


def available_cores() -> set[int]:
    """Return the logical processors that this process may use; all, where the OS does not say."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical(cores: list[int], topology: Path) -> list[tuple[int, ...]]:
    """Group logical processors by the physical core that they share, in order."""
    groups: dict[str, list[int]] = {}
    for core in cores:
        siblings = topology / f"cpu{core}/topology/thread_siblings_list"
        try:
            key = siblings.read_text().strip()
        except OSError:
            key = str(core)
        groups.setdefault(key, []).append(core)
    return [tuple(group) for group in groups.values()]


def _parsed(setting: str) -> list[int]:
    cores: set[int] = set()
    try:
        for part in filter(None, (piece.strip() for piece in setting.split(","))):
            first, _, last = part.partition("-")
            cores.update(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise SettingsError(f"NNLITE_MEASUREMENT__CORES={setting}: write cores as 2,3 or 4-7") from error
    return sorted(cores)


def _listed(cores: Collection[int]) -> str:
    return ",".join(str(core) for core in cores)


class Lock:
    """One `flock` file, close-on-exec; a forked child must close `fd`, or it holds the lock as well."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)

    def take(self, *, shared: bool = False) -> bool:
        """Take the lock if nobody is in the way; returns whether it is held now."""
        try:
            fcntl.flock(self.fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def is_free(self, *, shared: bool = False) -> bool:
        """Whether the lock could be taken now; for a holder of nothing."""
        taken = self.take(shared=shared)
        if taken:
            self.release()
        return taken

    def close(self) -> None:
        """Release the lock and forget the file."""
        os.close(self.fd)


def _locks(home: Path) -> tuple[Lock, Lock]:
    return Lock(home / "quiet" / "want"), Lock(home / "quiet" / "busy")


class _Turn(Enum):
    RUNNING = auto()  # `busy` is held, the child runs
    STOPPING = auto()  # the child is being stopped; `busy` is still held
    WAITING = auto()  # the child stands still; `busy` is free for a measurer


class ConverterTurn:
    """A conversion's side of quiet: may its child run now?

    The supervisor calls `tick()` every 100 ms, the first time before it makes
    the child. `True`: run (SIGCONT if it was stopped). `False`: stop the
    child's group with SIGSTOP and go on calling. `busy` is given back by the
    call *after* the `False` that stopped the child, so a measurement never
    begins beside a child that still runs. Call `close()` once the child is
    gone. With cores apart every tick is `True` and no file is touched.
    """

    def __init__(self, home: Path, cores: Cores) -> None:
        """Args: `home` is `settings.home`; `cores` comes from `choose_cores`."""
        self._locks = _locks(home) if cores.mode is QuietMode.TURNS else None
        self._turn = _Turn.WAITING

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors that a forked child must close."""
        return tuple(lock.fd for lock in self._locks or ())

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
            case _Turn.WAITING if not wanted and busy.take(shared=True):
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
class Quietness:
    """What a measurer got."""

    mode: QuietMode
    #: False: the machine's other work went on; the measurement is `not_quiet`.
    quiet: bool
    waited_s: float


@dataclass(frozen=True, kw_only=True)
class _Ledger:
    """What all measurers together owe the converters; kept in the `want` file."""

    #: Measuring time less the time that converters had meanwhile, when `want` was last released.
    used_s: float = 0.0
    released_at_s: float = 0.0

    @classmethod
    def read(cls, want: Lock) -> Self:
        try:
            fields = json.loads(os.pread(want.fd, 200, 0))
            ledger = cls(used_s=float(fields["used_s"]), released_at_s=float(fields["released_at_s"]))
        except (ValueError, TypeError, KeyError):
            return cls()  # new, or half-written by a holder that was killed
        # A time ahead of the clock was written before the machine was started anew.
        return ledger if 0 <= ledger.released_at_s <= time.monotonic() else cls()

    def write(self, want: Lock) -> None:
        text = json.dumps({"used_s": self.used_s, "released_at_s": self.released_at_s}).encode()
        os.ftruncate(want.fd, 0)
        os.pwrite(want.fd, text, 0)


class Measurer:
    """A measurement's side of quiet. One per worker; not for use by two threads at once."""

    def __init__(self, home: Path, cores: Cores, *, timeout_s: float, batch_s: float) -> None:
        """Args: `timeout_s` and `batch_s` are `quiet_timeout_s` and `quiet_batch_s` of the settings."""
        self._mode = cores.mode
        self._timeout_s = timeout_s
        self._batch_s = batch_s
        self._want, self._busy = _locks(home)

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors that a forked child must close."""
        return (self._want.fd, self._busy.fd)

    @contextmanager
    def measuring(self, stop: threading.Event) -> Iterator[Quietness]:
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
            yield Quietness(mode=self._mode, quiet=quiet, waited_s=held_from_s - started_s)
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
                locked = self._mode is QuietMode.CORES_APART or _taken_until(self._busy, deadline_s, stop)
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
        if self._mode is QuietMode.CORES_APART:
            return 0.0
        ledger = _Ledger.read(self._want)
        if ledger.used_s < self._batch_s:
            return 0.0
        rested_s = time.monotonic() - ledger.released_at_s
        return max(0.0, min(ledger.used_s, 2 * self._batch_s) - rested_s)

    def _note_turn(self, held_from_s: float) -> None:
        now_s = time.monotonic()
        ledger = _Ledger.read(self._want)
        debt_s = max(0.0, ledger.used_s - (held_from_s - ledger.released_at_s))
        _Ledger(used_s=debt_s + now_s - held_from_s, released_at_s=now_s).write(self._want)

    def _stand_back(self, owed_s: float, stop: threading.Event) -> float:
        """Let converters run for `owed_s`, or until none of them runs; returns the seconds it took."""
        started_s = time.monotonic()
        while (passed_s := time.monotonic() - started_s) < owed_s:
            _pause(stop, min(NOTICE_S, owed_s - passed_s))
            if self._want.take():
                idle = self._busy.is_free()
                if idle:
                    _Ledger().write(self._want)
                self._want.release()
                if idle:
                    break
        return time.monotonic() - started_s


def _taken_until(lock: Lock, deadline_s: float, stop: threading.Event) -> bool:
    while not lock.take():
        if time.monotonic() >= deadline_s:
            return False
        _pause(stop, POLL_S)
    return True


def _pause(stop: threading.Event, pause_s: float) -> None:
    if stop.wait(pause_s):
        raise Stopped("stopped while waiting for a quiet machine")
