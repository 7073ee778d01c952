"""Shares out what the emulators of this host must share: console and adb ports, and turns to boot.

Even console ports from 5586 on: adb servers scan 5555 to 5585 for emulators, so
other adb servers do not find nnlite's.
"""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import structlog

from nnlite.errors import Stopped
from nnlite.host.locks import FileLock

log = structlog.get_logger()

LAST_PORT: Final = 5682
_SLOT_POLL_S: Final = 0.5


class PortPair:
    """A console port P and the adb port P + 1, reserved until `release` or the end of this process."""

    def __init__(self, console: int, lock: FileLock) -> None:
        self.console: Final = console
        self.adb: Final = console + 1
        self._lock = lock

    @classmethod
    def take(cls, folder: Path, first: int, last: int = LAST_PORT) -> Self:
        """Return the first pair that no other worker holds and on which nothing listens.

        Args:
            folder: of the lock files, shared by all workers of one host.
            first: lowest console port; even.
            last: highest console port.

        Raises:
            OSError: every pair is taken.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for console in range(first, last + 1, 2):
            lock = FileLock(folder / f"{console}.lock", mode=0o660)
            if lock.try_exclusive() and _is_free(console) and _is_free(console + 1):
                return cls(console, lock)
            lock.close()
        raise OSError(f"no free pair of console and adb ports from {first} to {last + 1}")

    def release(self) -> None:
        """Release the pair."""
        with suppress(OSError):
            self._lock.close()


class BootSlot:
    """One of the slots for emulators of this host that boot at the same time: a boot takes every core."""

    def __init__(self, folder: Path, count: int) -> None:
        """Nothing is taken yet.

        Args:
            folder: of the lock files, shared by all workers of one host.
            count: emulators that may boot at once.
        """
        self._files = [folder / f"boot-{number}.lock" for number in range(count)]
        self._lock: FileLock | None = None

    def take(self, stop: threading.Event) -> None:
        """Wait for a free slot and hold it until `release` or the end of this process; raises Stopped."""
        if self._lock is not None:
            return
        self._files[0].parent.mkdir(parents=True, exist_ok=True)
        is_waiting = False
        while not self._has_taken():
            if not is_waiting:
                log.info("waiting until another emulator of this host has booted", at_once=len(self._files))
                is_waiting = True
            if stop.wait(_SLOT_POLL_S):
                raise Stopped("stopped before the emulator was started")

    def release(self) -> None:
        """Release the slot; harmless when none is held."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _has_taken(self) -> bool:
        for file in self._files:
            lock = FileLock(file, mode=0o660)
            if lock.try_exclusive():
                self._lock = lock
                return True
            lock.close()
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
