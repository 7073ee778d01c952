"""A process's sign of life for whoever supervises it from outside: a file that is touched while all is well.

A health check only compares its time with the clock, so it needs neither
Python nor a port. The file is named by `NNLITE_HEALTH_FILE` and there from a
process's first sign to its end.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from nnlite.errors import NnliteError

#: Between two signs of life; a checker allows for several of them to be late.
BEAT_S: Final = 5.0


def touch_health_file(file: Path | None) -> None:
    """Give one sign of life; one that cannot be given is a missing one, and no fault of its own."""
    if file is not None:
        with suppress(OSError):
            file.touch()


@contextmanager
def sign_of_life(file: Path | None) -> Iterator[None]:
    """Let the file be one of this process: what an earlier life left goes, and it goes at the end.

    Raises:
        NnliteError: it cannot be written.
    """
    if file is None:
        yield
        return
    try:
        file.unlink(missing_ok=True)
        file.touch()
    except OSError as error:
        raise NnliteError(
            f"NNLITE_HEALTH_FILE={file}: {error.strerror}; name a file that can be written"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


class HealthFileThread:
    """Signs of life from a thread while inside; not for processes that fork."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        touch_health_file(self._file)
        self._done.clear()
        if self._file is None:
            return self
        self._thread = threading.Thread(target=self._beat, name="sign of life", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Give no signs while inside: there is a loop whose own life is in question."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _beat(self) -> None:
        while not self._done.wait(BEAT_S):
            touch_health_file(self._file)
