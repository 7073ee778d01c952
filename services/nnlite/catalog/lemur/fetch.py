"""Brings LEMUR's files: one wheel, none of its dependencies, through the package installer at hand."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nnlite.catalog.lemur.location import VERSION, WHEEL, open_lemur, sources_folder
from nnlite.catalog.model import CatalogError
from nnlite.host.child_process import kill_group
from nnlite.settings import Settings

#: What the installer is asked for.
REQUIREMENT = f"nn-dataset=={VERSION}"
#: How much of a failed installer's output an error repeats, lines.
_TAIL_LINES = 6


def fetch_lemur(settings: Settings) -> Path:
    """Return the wheel's path, brought there if it was not; a second call finds it.

    Raises:
        CatalogError: no installer, no network, no space, or what came is not LEMUR.
    """
    folder = sources_folder(settings)
    wheel = folder / WHEEL
    if is_lemur(wheel, settings):
        return wheel
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            _download(Path(temporary), settings.catalog.fetch_timeout_s)
            fetched = Path(temporary) / WHEEL
            if not is_lemur(fetched, settings):
                found = ", ".join(sorted(os.listdir(temporary))) or "nothing"  # noqa: PTH208
                raise CatalogError(f"{REQUIREMENT} brought {found} instead of a readable {WHEEL}; try again")
            fetched.replace(wheel)  # the same folder, so that nobody sees half a wheel
    except OSError as error:
        raise CatalogError(f"cannot store LEMUR in {folder}: {error.strerror}") from error
    return wheel


def is_lemur(path: Path, settings: Settings) -> bool:
    """Tell whether there is a readable copy of LEMUR with models at `path`."""
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
        f"neither pip nor uv is here to bring {REQUIREMENT}; install one of them, or download {WHEEL} "
        "elsewhere and set NNLITE_LEMUR to its path"
    )


def _download(folder: Path, timeout_s: float) -> None:
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off"]
    command = [*installer(), "download", *options, "--dest", str(folder), REQUIREMENT]
    # A session of its own: uv starts pip as its child, and both have to end at the deadline.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise CatalogError(
            f"{REQUIREMENT} was not here within {timeout_s:g} s; try again, or raise "
            "NNLITE_CATALOG__FETCH_TIMEOUT_S"
        ) from error
    finally:
        kill_group(process)
    if process.returncode != 0:
        tail = "\n".join(output.strip().splitlines()[-_TAIL_LINES:])
        raise CatalogError(
            f"{' '.join(command)} ended with {process.returncode}:\n{tail}\n"
            f"without network, copy {WHEEL} from elsewhere and set NNLITE_LEMUR to its path"
        )
