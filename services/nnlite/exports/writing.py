"""Writes files of exports: each atomically, with an error that names it."""

from pathlib import Path
from typing import Any

import orjson

from nnlite.errors import NnliteError
from nnlite.host.files import write_atomically


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path`, atomically.

    Raises:
        NnliteError: it cannot be written.
    """
    write_file(path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`, atomically.

    Raises:
        NnliteError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise NnliteError(f"cannot write {path}: {error.strerror}") from error
