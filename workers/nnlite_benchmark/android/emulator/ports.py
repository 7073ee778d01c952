"""Allocates console and adb port pairs to the emulators of this host, and staggers their starts.

Even console ports from 5586 on: adb servers scan 5555 to 5585 for emulators, so
other adb servers do not find nnlite's.
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
    """A console port P and the adb port P + 1, reserved until `release` or the end of this process."""

    def __init__(self, console: int, lock: FileLock) -> None:
        self.console: Final = console
        self.adb: Final = console + 1
        self._lock = lock

    @classmethod
    def take(cls, folder: Path, first: int = FIRST_PORT, last: int = LAST_PORT) -> Self:
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


def stagger(file: Path, pause_s: float) -> float:
    """Reserve the next start time of an emulator on this host; return the seconds to wait until then.

    Starts are at least `pause_s` apart.

    Raises:
        LockTimeout: another process holds the file's lock for too long.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file, mode=0o660) as lock:
        lock.exclusive(_LOCK_TIMEOUT_S)
        now_s = time.monotonic()
        try:
            last_s = float(lock.read())
        except ValueError:
            last_s = 0.0
        # A time far ahead of the monotonic clock was written before a reboot.
        plausible = 0 < last_s <= now_s + 100 * pause_s
        start_s = max(now_s, last_s + pause_s) if plausible else now_s
        lock.write(str(start_s))
        return start_s - now_s


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
