"""Downloads LEMUR: one wheel without its dependencies, with pip or uv."""

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nnlite.catalog.lemur.location import VERSION, WHEEL, open_lemur, sources_folder
from nnlite.catalog.model import CatalogError
from nnlite.host.child_process import kill_group
from nnlite.settings import Settings

#: Requirement that the installer downloads.
REQUIREMENT = f"nn-dataset=={VERSION}"
#: Of the wheel.
SIZE_BYTES = 102_904_100
#: Between two looks at what was downloaded, seconds.
_POLL_S = 0.5
#: How much of a failed installer's output an error repeats, lines.
_TAIL_LINES = 6


def fetch_lemur(settings: Settings, on_progress: Callable[[int], None] = lambda _: None) -> Path:
    """Return the path of the wheel, which is downloaded if it is missing.

    Args:
        on_progress: called with the number of bytes while it is downloaded, and when all of it is there.

    Raises:
        CatalogError: no installer, no network, or the downloaded file is not LEMUR.
        OSError: the disk is full.
    """
    folder = sources_folder(settings)
    wheel = folder / WHEEL
    if is_lemur(wheel, settings):
        return wheel
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            _download(Path(temporary), settings.catalog.fetch_timeout_s, on_progress)
            fetched = Path(temporary) / WHEEL
            if not is_lemur(fetched, settings):
                found = ", ".join(sorted(os.listdir(temporary))) or "nothing"  # noqa: PTH208
                raise CatalogError(f"{REQUIREMENT} gave {found} instead of a readable {WHEEL}; try again")
            on_progress(fetched.stat().st_size)
            fetched.replace(wheel)  # the same folder, so that the rename is atomic
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        hint = "set NNLITE_HOME to a folder of your own"
        raise CatalogError(f"cannot store LEMUR in {folder}: {error.strerror}; {hint}") from error
    return wheel


def is_lemur(path: Path, settings: Settings) -> bool:
    """Return whether `path` is a readable copy of LEMUR with models."""
    if not path.exists():
        return False
    try:
        next(open_lemur(path, settings.database_timeout_s).models())
    except (CatalogError, StopIteration):
        return False
    return True


def installer() -> list[str]:
    """Return the start of a command line that understands `download`.

    uv has no such command; it runs pip instead.
    """
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := os.environ.get("UV") or shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    if pip := shutil.which("pip"):
        return [pip]
    raise CatalogError(
        f"neither pip nor uv is here to download {REQUIREMENT}; install one of them, or download {WHEEL} "
        "elsewhere and set NNLITE_LEMUR to its path"
    )


def _download(folder: Path, timeout_s: float, on_progress: Callable[[int], None]) -> None:
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off"]
    command = [*installer(), "download", *options, "--dest", str(folder), REQUIREMENT]
    # Partial files are where they can be watched. Not every pip prints what it has, and none if it is piped.
    environment = {**os.environ, "TMPDIR": str(folder)}
    # A session of its own: uv starts pip as its child, and both have to end at the deadline.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=environment,
    )  # fmt: skip
    deadline_s = time.monotonic() + timeout_s
    try:
        while (output := _output(process, min(_POLL_S, timeout_s))) is None:
            on_progress(_largest_file(folder))
            if time.monotonic() >= deadline_s:
                raise CatalogError(
                    f"{REQUIREMENT} was not downloaded within {timeout_s:g} s; try again, or raise "
                    "NNLITE_CATALOG__FETCH_TIMEOUT_S"
                )
    finally:
        kill_group(process)
    if process.returncode != 0 and os.strerror(errno.ENOSPC) in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.parent))
    if process.returncode != 0:
        tail = "\n".join(output.strip().splitlines()[-_TAIL_LINES:])
        raise CatalogError(
            f"{' '.join(command)} ended with {process.returncode}:\n{tail}\n"
            f"without network, copy {WHEEL} from elsewhere and set NNLITE_LEMUR to its path"
        )


def _output(process: "subprocess.Popen[str]", timeout_s: float) -> str | None:
    """Return the output of a process that has ended; None: it has not within the time."""
    try:
        return process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        return None


def _largest_file(folder: Path) -> int:
    """Return the size of the largest file below a folder in which another program writes and deletes."""
    largest = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                largest = max(largest, os.stat(os.path.join(path, name)).st_size)  # noqa: PTH116, PTH118
    return largest
