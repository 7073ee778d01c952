"""Rebuilds the catalog's table of input shapes from the LEMUR of the settings: `make shapes`.

`--also VERSION=PATH` adds the transforms of a newer LEMUR, such as a wheel that has transforms but no models.
Every transform is applied in a forked process with a time limit, as it is other people's Python.
"""

import argparse
import multiprocessing
import multiprocessing.connection
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
import torchvision  # imported by transforms: preloaded, so that forks need not import it

from nnlite.catalog.lemur.archive import WheelArchive
from nnlite.catalog.lemur.datasets import DATASETS, ImageDataset
from nnlite.catalog.lemur.location import find_lemur
from nnlite.catalog.lemur.shapes import HASH_DIGITS, OTHERS, TABLE, VARIABLE, VERSION_SEPARATOR
from nnlite.catalog.model import text_sha256
from nnlite.settings import load_settings
from nnlite_conversion.pipeline.loading.transforms import apply, describe

#: (width, height) in pixels of two pictures that show whether a transform keeps the size.
_PROBES = ((256, 256), (320, 224))


def table_entry(code: str, name: str, dataset: ImageDataset) -> str | None:
    """Return the table's cell for one pair, or None where the shape depends on the picture in another way."""
    sizes = [dataset.size] if dataset.size else list(_PROBES)
    try:
        shapes = [apply(code, name, dataset, size) for size in sizes]
    except Exception as error:  # noqa: BLE001 (the table records the error)
        return f"no tensor: the transform fails: {describe(error)}"
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return f"{first.dtype} {first.channels}x{first.height}x{first.width}"
    if all((shape.width, shape.height) == size for shape, size in zip(shapes, sizes, strict=True)):
        return f"{first.dtype} {first.channels}x{VARIABLE}x{VARIABLE}"
    return None


def make_table(transforms: Mapping[str, str], timeout_s: float) -> dict[str, Any]:
    """Return the whole table; transforms with the same shapes share a row.

    Args:
        transforms: code by name.
        timeout_s: limit of each transform; one that exceeds it or crashes is not in the table.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, code in sorted(transforms.items()):
        shapes = _entries_in_fork(name, code, timeout_s)
        if shapes is None:
            print(f"{name}: no answer within {timeout_s:g} s; not in the table", file=sys.stderr)
            continue
        shapes = abbreviated(shapes)
        row = rows.setdefault(repr(sorted(shapes.items())), {"shapes": shapes, "transforms": {}})
        row["transforms"][name] = text_sha256(code)[:HASH_DIGITS]
    return {"torchvision": torchvision.__version__.split("+")[0], "rows": list(rows.values())}


def abbreviated(shapes: Mapping[str, str | None]) -> dict[str, str | None]:
    """Write the most frequent cell once, for all datasets that are not listed."""
    usual, _ = Counter(shapes.values()).most_common(1)[0]
    return {OTHERS: usual} | {dataset: entry for dataset, entry in shapes.items() if entry != usual}


def merged(transforms: Mapping[str, str], newer: Mapping[str, str], version: str) -> dict[str, str]:
    """Return the transforms of both; where `newer` has another code for a name, as name@version too."""
    others = {
        f"{name}{VERSION_SEPARATOR}{version}" if name in transforms else name: code
        for name, code in newer.items()
        if transforms.get(name) != code
    }
    return {**transforms, **others}


def _entries_in_fork(name: str, code: str, timeout_s: float) -> dict[str, str | None] | None:
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_send_entries, args=(theirs, name, code), daemon=True)
    process.start()
    theirs.close()
    try:
        answer: dict[str, str | None] | None = ours.recv() if ours.poll(timeout_s) else None
    except EOFError:  # it died
        answer = None
    finally:
        process.kill()
        process.join()
        ours.close()
    return answer


def _send_entries(pipe: multiprocessing.connection.Connection, name: str, code: str) -> None:
    pipe.send({dataset: table_entry(code, name, known) for dataset, known in DATASETS.items()})


def main() -> None:
    """Rebuild the committed table from the LEMUR of the settings."""
    parser = argparse.ArgumentParser(description="rebuild the table of input shapes (transform, dataset)")
    parser.add_argument(
        "--output", type=Path, default=TABLE, help="file to write; default: the committed one"
    )
    parser.add_argument("--timeout-s", type=float, default=60.0, help="limit of each transform, seconds")
    parser.add_argument("--also", action="append", default=[], metavar="VERSION=WHEEL", help="a newer LEMUR")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transforms = find_lemur(load_settings()).transforms()
    for also in arguments.also:
        version, _, path = also.partition("=")
        transforms = merged(transforms, WheelArchive(Path(path)).transforms(), version)
    table = make_table(transforms, arguments.timeout_s)
    arguments.output.write_bytes(orjson.dumps(table, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"{sum(len(row['transforms']) for row in table['rows'])} transforms in {arguments.output}")


if __name__ == "__main__":
    main()
