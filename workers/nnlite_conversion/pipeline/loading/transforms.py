"""Applies a model's transform to a picture as the loader of its dataset does.

This executes other people's Python: in the conversion child, and in `tools/make_shapes.py`'s forks.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from nnlite.catalog.lemur.datasets import ImageDataset

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
