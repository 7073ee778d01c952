"""Checks that a model's file is still what it was when its source listed it."""

from pathlib import Path

from nnlite.catalog.model import CatalogError
from nnlite.host.files import file_sha256


def unchanged_file(file: Path, sha256: str | None) -> Path:
    """Return `file`; CatalogError if it has changed or vanished since it was listed with this hash."""
    if not file.is_file() or file_sha256(file) != sha256:
        raise CatalogError(f"{file} has changed since it was listed; submit again to take it as it is now")
    return file
