"""Applies a model's transform to a picture as the loader of its dataset does, or to learn the input's shape.

This executes other people's Python: in the conversion child, and in the forks of `tools/make_shapes.py`,
which builds the catalog's committed table of shapes.
"""

import inspect
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from nnlite.catalog.lemur.datasets import DATASETS, ImageDataset
from nnlite.catalog.lemur.shapes import InputShape, refusal
from nnlite_conversion.explanations import refused

#: From a picture to what the network gets, usually a (C, H, W) tensor.
Transform = Callable[[Image.Image], Any]


def transform_of(
    code: str, name: str, dataset: ImageDataset | None, norm: tuple[Sequence[float], Sequence[float]]
) -> Transform:
    """Return the transform that `code` defines.

    Args:
        code: defines `transform(norm)`, which returns a callable, or `transform`, which is one itself.
        name: of the transform, for tracebacks.
        dataset: whose pictures it is applied to; of pairs of pictures the small one is the network's input.
        norm: mean and deviation of each channel.

    Raises:
        Exception: the transform's own error.
    """
    namespace: dict[str, Any] = {"__name__": f"transform {name}"}
    exec(compile(code, f"{name}.py", "exec"), namespace)  # noqa: S102 (only in a child)
    defined = namespace["transform"]
    transform: Any = defined(norm) if inspect.isfunction(defined) else defined
    if dataset is None or dataset.scale is None:
        return transform  # type: ignore[no-any-return]
    return _on_pairs(transform, dataset.scale)


def _on_pairs(transform: Any, scale: int) -> Transform:
    """Return a transform that gives the small picture of a pair as a tensor in [0, 1]."""
    takes_pairs = callable(transform) and len(inspect.signature(transform).parameters) == 2

    def small(picture: Image.Image) -> Any:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)
        tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        if not takes_pairs:
            return tensor
        large = torch.nn.functional.interpolate(tensor[None], scale_factor=scale)[0]
        return transform(tensor, large)[0]

    return small


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
