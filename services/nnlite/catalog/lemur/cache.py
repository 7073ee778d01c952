"""Cache of a catalog's rows in the home folder, valid until a file that they were read from changes.

A stale or damaged cache is rebuilt; one that cannot be written is skipped with a warning.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from nnlite.catalog.model import CatalogModel, ModelInput
from nnlite.host.files import write_atomically
from nnlite.vocabulary import Layout, ModelFormat

logger = logging.getLogger(__name__)

#: Increase it when equal files give different rows.
CACHE_VERSION = 1

_FIELDS = [field.name for field in fields(CatalogModel)]
_LAYOUTS = {each.value: each for each in Layout}
_FORMATS = {each.value: each for each in ModelFormat}


def cache_key(*parts: str) -> str:
    """Return the hash of everything that the rows depend on."""
    return hashlib.sha256("\0".join((str(CACHE_VERSION), *_FIELDS, *parts)).encode()).hexdigest()


def read_cache(path: Path, key: str) -> list[CatalogModel] | None:
    """Return the rows cached under `key`; None if there are none, or the file is damaged."""
    try:
        header, _, payload = path.read_bytes().partition(b"\n")
        if header.decode() != f"{key} {hashlib.sha256(payload).hexdigest()}":
            return None
        return [_model(row) for row in orjson.loads(payload)]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _model(row: list[Any]) -> CatalogModel:
    """Return the model of a row as `write_cache` wrote it.

    Not by the constructor of a frozen dataclass, nor validated, which of ten thousand models takes three
    times as long as all else that a listing does.
    """
    model = object.__new__(CatalogModel)
    values = model.__dict__
    values.update(zip(_FIELDS, row, strict=True))
    if values["input_shape"] is not None:
        values["input_shape"] = tuple(values["input_shape"])
    values["inputs"] = tuple(_input(each) for each in values["inputs"])
    values["layout"] = _LAYOUTS[values["layout"]]
    values["model_format"] = _FORMATS[values["model_format"]]
    return model


def _input(values: dict[str, Any]) -> ModelInput:
    return ModelInput(**values | {"shape": tuple(values["shape"])})


def known_names(home: Path) -> list[str]:
    """Return the names of the models that the last listing of LEMUR read; none if there was no listing."""
    files = sorted((home / "cache").glob("lemur-*.json"), key=lambda file: file.stat().st_mtime)
    if not files:
        return []
    _, _, payload = files[-1].read_bytes().partition(b"\n")
    place = _FIELDS.index("name")
    return [*dict.fromkeys(row[place] for row in orjson.loads(payload))]


def write_cache(path: Path, key: str, models: Sequence[CatalogModel]) -> None:
    """Store the rows; log a warning where the file cannot be written."""
    payload = orjson.dumps([[getattr(model, name) for name in _FIELDS] for model in models])
    content = f"{key} {hashlib.sha256(payload).hexdigest()}\n".encode() + payload
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, private=True)
    except OSError as error:
        logger.warning("the catalog cannot be cached in %s (%s); it will be read again", path, error.strerror)
