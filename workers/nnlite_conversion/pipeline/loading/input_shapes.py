"""Determines the shape of a transform's output by applying it to a picture of the dataset's size and mode.

For the conversion child, which may execute other people's Python, and for `tools/make_shapes.py`, which
builds the catalog's committed table.
"""

import random

import numpy as np
import torch
from PIL import Image

from nnlite.catalog.lemur.datasets import DATASETS, ImageDataset
from nnlite.catalog.lemur.shapes import InputShape, refusal
from nnlite_conversion.explanations import refused
from nnlite_conversion.pipeline.loading.transforms import transform_of


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
    # The number of means and deviations affects the shape, their values do not.
    norm = ((0.5,) * dataset.channels, (0.5,) * dataset.channels)
    result = transform_of(code, name, dataset, norm)(_picture(dataset.channels, size))
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


def _picture(channels: int, size: tuple[int, int]) -> Image.Image:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
