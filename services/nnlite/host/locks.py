"""File locks (`flock`) that the kernel frees when their holder dies.

A lock lives as long as any copy of its descriptor, so no child gets one:
exec closes it, a fork's child drops it at once, and only `pass_on` hands it over.
"""

import fcntl
import os
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from nnlite.errors import NnliteError
from nnlite.host.processes import POLL_S


class LockTimeout(NnliteError):
    """A lock stayed in other hands until the deadline."""


class FileLock:
    """One descriptor of a lock file; not held until asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The file stays when the lock goes: removing it would let two holders lock two files of one name.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _open_locks.add(self)

    def try_exclusive(self) -> bool:
        """Take the lock alone if nobody holds it. A shared hold of ours is lost when this fails."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take the lock beside others if nobody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def shared(self, timeout_s: float) -> None:
        """Take the lock beside others.

        Raises:
            LockTimeout: somebody held it alone until `timeout_s` had passed.
        """
        self._until(fcntl.LOCK_SH, timeout_s)

    def exclusive(self, timeout_s: float) -> None:
        """Take the lock alone.

        Raises:
            LockTimeout: others held it until `timeout_s` had passed.
        """
        self._until(fcntl.LOCK_EX, timeout_s)

    def pass_on(self) -> int:
        """Return the descriptor, to be inherited by one child, which then holds the lock as well."""
        return self._descriptor

    def close(self) -> None:
        """Let go; closing twice does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


#: Locks of this process, for the children that it forks without exec (a prefork pool, a conversion).
_open_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _drop_inherited() -> None:
    for lock in list(_open_locks):
        lock.close()


os.register_at_fork(after_in_child=_drop_inherited)
