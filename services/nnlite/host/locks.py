"""File locks (`flock`), which the kernel frees when the process that holds them ends.

A lock is held as long as any copy of its descriptor is open, so no child gets
one: exec closes it, `os.fork` closes it in the child, and only `pass_on` hands it over.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from nnlite.errors import NnliteError
from nnlite.host.processes import POLL_S


class LockTimeout(NnliteError):
    """Another process held a lock until the deadline."""


class FileLock:
    """A lock file, opened but not yet locked; never closed, a lock is held until this process ends."""

    def __init__(self, path: Path, *, mode: int = 0o600, flags: int = os.O_RDWR | os.O_CREAT) -> None:
        """Open the file, whose folder exists.

        Args:
            path: the file. It is never removed: two processes could lock two files of one name.
        """
        self.path = path
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
        _open_locks.add(self)

    @classmethod
    def on_folder(cls, folder: Path) -> Self:
        """Open a folder to lock it; a symbolic link is refused with `OSError`."""
        return cls(folder, flags=os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def try_exclusive(self) -> bool:
        """Lock exclusively if nobody else holds the lock. If that fails, a shared hold is lost as well."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Lock shared if nobody holds the lock exclusively."""
        return self._try(fcntl.LOCK_SH)

    def shared(self, timeout_s: float) -> None:
        """Lock shared.

        Raises:
            LockTimeout: another process held it exclusively until `timeout_s` had passed.
        """
        self._until(fcntl.LOCK_SH, timeout_s)

    def exclusive(self, timeout_s: float) -> None:
        """Lock exclusively.

        Raises:
            LockTimeout: others held it until `timeout_s` had passed.
        """
        self._until(fcntl.LOCK_EX, timeout_s)

    def is_free(self, *, shared: bool = False) -> bool:
        """Return whether the lock is free now; for a process that does not hold it."""
        free = self.try_shared() if shared else self.try_exclusive()
        if free:
            self.release()
        return free

    def release(self) -> None:
        """Unlock and keep the file open; harmless when the lock is not held."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def read(self) -> str:
        """Return the text in the lock file: what its last holder wrote."""
        return os.pread(self._descriptor, 4096, 0).decode("ascii", "replace").strip()

    def write(self, text: str) -> None:
        """Replace the text in the lock file; for the holder."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def pass_on(self) -> int:
        """Return the descriptor, to be inherited by one child, which then holds the lock as well."""
        return self._descriptor

    def close(self) -> None:
        """Unlock and close the file; closing twice does nothing."""
        _open_locks.discard(self)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self._descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _until(self, operation: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._try(operation):
            if time.monotonic() > deadline:
                raise LockTimeout(
                    f"{self.path} was held by another nnlite process for {timeout_s:.0f} s; "
                    f"see who: fuser {self.path}"
                )
            time.sleep(POLL_S)


#: Open locks of this process, which its forked children close (a prefork pool, a conversion).
_open_locks: set[FileLock] = set()


def _close_inherited() -> None:
    for lock in list(_open_locks):
        lock.close()


os.register_at_fork(after_in_child=_close_inherited)
