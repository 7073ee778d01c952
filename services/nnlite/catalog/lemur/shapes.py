"""The shape of a model's input, looked up in a committed table (transform, dataset) -> C, H, W, dtype.

`make shapes` writes it: `tools/make_shapes.py` applies every transform of nn-dataset 2.1.2 and 2.2.11 to an
image of every dataset. Services cannot: transforms import torchvision. The key is the hash of the transform's
file, so an edited transform is unknown rather than wrong.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from nnlite.catalog.lemur.datasets import DATASETS
from nnlite.catalog.model import text_sha256

#: The committed table.
TABLE = Path(__file__).with_name("lemur_shapes.json")
#: Digits of a transform's SHA-256 that the table keeps.
HASH_DIGITS = 16
#: Stands for height and width where the transform keeps the picture's size and the dataset fixes none.
VARIABLE = "S"
#: Stands for every known dataset that a row of the table does not name.
OTHERS = "*"
#: Between the name of a transform and a newer version of LEMUR that has other code under that name.
VERSION_SEPARATOR = "@"


@dataclass(frozen=True, kw_only=True)
class InputShape:
    """One image as the network gets it, without the batch."""

    channels: int
    #: Pixels.
    height: int
    #: Pixels.
    width: int
    #: NumPy name.
    dtype: str = "float32"

    @property
    def batch_of_one(self) -> tuple[int, int, int, int]:
        """(1, C, H, W)."""
        return 1, self.channels, self.height, self.width


def refusal(shape: InputShape) -> str | None:
    """Return why an input of this shape is skipped, or None."""
    if shape.dtype.startswith("complex"):
        return f"complex input: the transform gives {shape.dtype} tensors, which .tflite networks cannot take"
    return None


class ShapeTable:
    """Table of input shapes; the conversion child determines the shape of an unknown pair."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._entries: dict[str, dict[str, str | None]] = {}
        for row in rows:
            for digits in row["transforms"].values():
                self._entries[digits] = row["shapes"]

    def look_up(self, transform_sha256: str, dataset: str, variable_size: int) -> InputShape | str | None:
        """Return the shape of the output for a picture of `dataset`, or why none can be taken; None: unknown.

        Args:
            variable_size: height and width where neither dataset nor transform fixes them, pixels.
        """
        if dataset not in DATASETS:
            return None
        entries = self._entries.get(transform_sha256[:HASH_DIGITS], {})
        entry = entries.get(dataset, entries.get(OTHERS))
        return None if entry is None else parse_entry(entry, variable_size)


def parse_entry(entry: str, variable_size: int) -> InputShape | str:
    """Parse a cell of the table, `float32 3x32x32` or `float32 3xSxS`; or return why there is no shape."""
    if entry.startswith("no tensor"):
        return entry
    dtype, sizes = entry.split(" ")
    channels, height, width = (variable_size if size == VARIABLE else int(size) for size in sizes.split("x"))
    shape = InputShape(channels=channels, height=height, width=width, dtype=dtype)
    return refusal(shape) or shape


@cache
def committed_table() -> ShapeTable:
    """Return the table that ships with nnlite; an empty one before it was first made."""
    return ShapeTable(orjson.loads(TABLE.read_bytes())["rows"] if TABLE.exists() else [])


@cache
def committed_transforms() -> dict[str, str]:
    """Return the first digits of the SHA-256 of every transform of LEMUR that the table knows, by name."""
    rows = orjson.loads(TABLE.read_bytes())["rows"] if TABLE.exists() else []
    return {name: digits for row in rows for name, digits in row["transforms"].items()}


@cache
def table_version() -> str:
    """Return the hash of the committed table, for caches of what was looked up in it."""
    return text_sha256(TABLE.read_text()) if TABLE.exists() else "none"
