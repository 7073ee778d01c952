"""Determines the shape of a transform's output by applying it to a picture of the dataset's size and mode.

`input_shape` is for the conversion child, which may execute other people's Python. Run as a program, this
module rebuilds the catalogue's committed table, with every transform in a forked process with a time limit.
"""

import argparse
import multiprocessing
import multiprocessing.connection
import random
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
import torchvision  # imported by transforms: preloaded, so that forks need not import it
from PIL import Image

from nnlite.catalog.lemur.datasets import DATASETS, ImageDataset
from nnlite.catalog.lemur.location import find_lemur
from nnlite.catalog.lemur.shapes import HASH_DIGITS, OTHERS, TABLE, VARIABLE, InputShape, refusal
from nnlite.catalog.model import text_sha256
from nnlite.settings import load_settings
from nnlite_conversion.explanations import refused

#: (width, height) in pixels of two pictures that show whether a transform keeps the size.
_PROBES = ((256, 256), (320, 224))


def input_shape(transform_code: str, transform: str, dataset: str, *, variable_size: int) -> InputShape:
    """Return the shape of a network's input: the output of `transform` for a picture of `dataset`.

    Executes `transform_code` in this process.

    Args:
        transform_code: defines `transform(norm)`, which returns a callable on PIL images.
        transform: its name, for messages.
        dataset: a name in `nnlite.catalog.lemur.datasets`.
        variable_size: height and width of the picture where the dataset fixes none, pixels.

    Raises:
        Failure: class `model` at stage `load`: the dataset is unknown, the transform fails, or returns
            something other than a (C, H, W) tensor that a .tflite network can take.
    """
    known = DATASETS.get(dataset)
    if known is None:
        raise refused(f"unknown dataset {dataset}: its image size is not known")
    try:
        shape = apply(transform_code, transform, known, known.size or (variable_size, variable_size))
    except Exception as error:  # the transform is other people's code
        raise refused(f"no tensor: transform {transform} on {dataset} fails: {describe(error)}") from error
    if reason := refusal(shape):
        raise refused(f"{reason} (transform {transform})")
    return shape


def apply(code: str, name: str, dataset: ImageDataset, size: tuple[int, int]) -> InputShape:
    """Apply a transform to a picture of `size` (width, height) and return the shape of its output.

    Raises:
        Exception: the transform's own error; TypeError when it returns no (C, H, W) tensor.
    """
    random.seed(0)
    torch.manual_seed(0)
    namespace: dict[str, Any] = {"__name__": f"transform {name}"}
    exec(compile(code, f"{name}.py", "exec"), namespace)  # noqa: S102 (only in a child)
    # The number of means and deviations affects the shape, their values do not.
    norm = ((0.5,) * dataset.channels, (0.5,) * dataset.channels)
    result = namespace["transform"](norm)(_picture(dataset.channels, size))
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"it gives a {type(result).__name__}, not a tensor")
    if result.ndim != 3:
        raise TypeError(f"it gives a tensor of {result.ndim} dimensions instead of (C, H, W)")
    channels, height, width = result.shape
    dtype = str(result.dtype).removeprefix("torch.")
    return InputShape(channels=channels, height=height, width=width, dtype=dtype)


def describe(error: Exception) -> str:
    """Return type and first line of a transform's error."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


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


def _picture(channels: int, size: tuple[int, int]) -> Image.Image:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])


def main() -> None:
    """Rebuild the committed table from the LEMUR of the settings."""
    parser = argparse.ArgumentParser(description="rebuild the table of input shapes (transform, dataset)")
    parser.add_argument(
        "--output", type=Path, default=TABLE, help="file to write; default: the committed one"
    )
    parser.add_argument("--timeout-s", type=float, default=60.0, help="limit of each transform, seconds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = make_table(find_lemur(load_settings()).transforms(), arguments.timeout_s)
    arguments.output.write_bytes(orjson.dumps(table, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"{sum(len(row['transforms']) for row in table['rows'])} transforms in {arguments.output}")


if __name__ == "__main__":
    main()
