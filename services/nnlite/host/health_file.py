"""Health file for external supervisors: touched every 5 s while the process makes progress.

A health check only compares its mtime with the clock, so it needs neither Python
nor a port. `NNLITE_HEALTH_FILE` names the file; it exists from the start of the
process to its end.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from nnlite.errors import NnliteError

#: Between two touches; a health check allows for several late ones.
TOUCH_EVERY_S: Final = 5.0


def touch_health_file(file: Path | None) -> None:
    """Touch the health file; if that fails, the file gets old and the health check finds out."""
    if file is not None:
        with suppress(OSError):
            file.touch()


@contextmanager
def health_file_of_process(file: Path | None) -> Iterator[None]:
    """Create the health file of this process, replacing that of an earlier one, and remove it at the end.

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
    """Context manager that touches the health file from a thread; not for processes that fork."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        touch_health_file(self._file)
        self._done.clear()
        if self._file is None:
            return self
        self._thread = threading.Thread(target=self._touch_until_done, name="health file", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause this thread: inside the block Celery's loop touches the file, so its stalls show."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _touch_until_done(self) -> None:
        while not self._done.wait(TOUCH_EVERY_S):
            touch_health_file(self._file)
