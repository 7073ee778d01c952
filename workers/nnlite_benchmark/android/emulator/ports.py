"""Console and adb port pairs, one per emulator of this host, without collisions.

Even console ports from 5586 on: an adb server scans 5555 to 5585 for
emulators, so a foreign one does not find ours.
"""

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from nnlite.host.locks import FileLock

FIRST_PORT: Final = 5586
LAST_PORT: Final = 5682
#: The note of the last start is locked for two small writes; longer, and a process hangs.
_LOCK_TIMEOUT_S: Final = 10.0


class PortPair:
    """A console port P and the adb port P + 1, ours until `release` or the end of this process."""

    def __init__(self, console: int, lock: FileLock) -> None:
        self.console: Final = console
        self.adb: Final = console + 1
        self._lock = lock

    @classmethod
    def take(cls, folder: Path, first: int = FIRST_PORT, last: int = LAST_PORT) -> Self:
        """Return the first pair that no other worker holds and on which nothing listens.

        Args:
            folder: of the workers' locks; those of one host share it.
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
        """Let others have the pair."""
        with suppress(OSError):
            self._lock.close()


def stagger(file: Path, pause_s: float) -> float:
    """Return how long this process must wait before it starts an emulator, and note its turn.

    Every start of this host comes at least `pause_s` after the one before.

    Raises:
        LockTimeout: another process hangs while it notes its own start.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file, mode=0o660) as lock:
        lock.exclusive(_LOCK_TIMEOUT_S)
        now_s = time.monotonic()
        try:
            last_s = float(lock.read())
        except ValueError:
            last_s = 0.0
        # A turn far ahead of the clock was noted before the machine was started anew.
        ahead = 0 < last_s <= now_s + 100 * pause_s
        turn_s = max(now_s, last_s + pause_s) if ahead else now_s
        lock.write(str(turn_s))
        return turn_s - now_s


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
