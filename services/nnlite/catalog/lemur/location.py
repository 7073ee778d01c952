"""Locates LEMUR on this machine, without importing any of it."""

import importlib.util
import zipfile
from pathlib import Path

from nnlite.catalog.lemur.archive import MODELS, Archive, FolderArchive, WheelArchive
from nnlite.catalog.lemur.sqlite_archive import MAGIC, SqliteArchive
from nnlite.catalog.model import CatalogError
from nnlite.settings import Settings

#: The last release that carries its models; later ones fetch a database at first use.
VERSION = "2.1.2"
WHEEL = f"nn_dataset-{VERSION}-py3-none-any.whl"
#: Where a checkout is found without being named: NN-GPT and its like expect it next to them.
CHECKOUTS = (Path("nn-dataset"), Path("..", "nn-dataset"))


class LemurMissingError(CatalogError):
    """LEMUR is not on this machine, and can be downloaded."""


def sources_folder(settings: Settings) -> Path:
    """Return the folder of downloaded sources."""
    return settings.home / "sources"


def find_lemur(settings: Settings) -> Archive:
    """Return LEMUR from `settings.lemur`, the installed package, the fetched wheel, or a checkout nearby.

    Raises:
        LemurMissingError: LEMUR is not on this machine.
        CatalogError: `settings.lemur` cannot be read.
    """
    if settings.lemur is not None:
        return open_lemur(settings.lemur.expanduser(), settings.database_timeout_s)
    if (installed := installed_folder()) is not None:
        return FolderArchive(installed)
    fetched = sources_folder(settings) / WHEEL
    if fetched.exists():
        return WheelArchive(fetched)
    for checkout in CHECKOUTS:
        if (checkout / MODELS).is_dir():
            return FolderArchive(checkout)
    missing = ", ".join(f"no {place}" for place in (f"installed nn-dataset=={VERSION}", fetched, *CHECKOUTS))
    raise LemurMissingError(
        f"LEMUR is not on this machine: {missing}, and NNLITE_LEMUR is not set. Download it (103 MB, files "
        "only, without its dependencies): nnlite fetch"
    )


def open_lemur(path: Path, timeout_s: float) -> Archive:
    """Return the copy of LEMUR at `path`: a folder that holds `ab/nn/nn`, a wheel, or a SQLite file.

    Args:
        timeout_s: longest wait for a locked SQLite file.
    """
    if path.is_dir():
        if (path / MODELS).is_dir():
            return FolderArchive(path)
        raise CatalogError(
            f"{path} is not LEMUR: it has no folder {MODELS}; name the folder that contains `ab`"
        )
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise CatalogError(
            f"NNLITE_LEMUR={path}: {error.strerror}; correct it, or unset it and run: nnlite fetch"
        ) from error
    if start == MAGIC:
        return SqliteArchive(path, timeout_s)
    if zipfile.is_zipfile(path):
        return WheelArchive(path)
    raise CatalogError(f"{path} is neither a wheel nor a SQLite file; if it was cut short: nnlite fetch")


def installed_folder() -> Path | None:
    """Return the folder that holds an installed `ab.nn` with models, or None.

    Only the top-level name is looked up: finding `ab.nn` would import `ab`.
    """
    try:
        spec = importlib.util.find_spec("ab")
    except ValueError:  # something put a module without a spec there
        return None
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location).parent
        if Path(location).name == "ab" and (folder / MODELS).is_dir():
            return folder
    return None
