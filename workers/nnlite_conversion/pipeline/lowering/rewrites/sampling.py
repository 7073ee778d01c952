"""Rewrites sampling of images at places beyond their border, where they are reflected.

The decomposition that litert-torch uses compares 8-bit integers, which LiteRT does not.
"""

import numpy as np
import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant

#: As the operator numbers modes of interpolation and of padding.
_NEAREST, _BICUBIC = 1, 2
_BORDER, _REFLECTION = 1, 2
#: How many elements beyond the border bicubic interpolation takes into account.
_MARGIN = 2


def sampled_within_reflections(
    x: torch.Tensor, grid: torch.Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> torch.Tensor:
    """Compute `grid_sampler_2d` that reflects: the places, and for bicubic interpolation the image."""
    if padding_mode != _REFLECTION:
        return NotImplemented
    margin = _MARGIN if interpolation_mode == _BICUBIC else 0
    places = []
    for dimension, axis in ((-1, grid[..., 0]), (-2, grid[..., 1])):
        size = x.shape[dimension]
        place = _reflected(axis, size, align_corners)
        if margin:
            x = x.index_select(dimension, constant(_with_margin(size, align_corners)))
        # Halves are rounded as PyTorch does, before scaling moves them.
        within = place.round() if interpolation_mode == _NEAREST else place + margin
        places.append((2 * within + 1) / (size + 2 * margin) - 1)
    return torch.ops.aten.grid_sampler_2d(
        x, torch.stack(places, -1), interpolation_mode, _BORDER, align_corners=False
    )


def _reflected(place: torch.Tensor, size: int, align_corners: bool) -> torch.Tensor:
    """Return places within the image, in elements, of places whose border is at -1 and 1."""
    start, span = (0, size - 1) if align_corners else (-0.5, size)
    if not span:
        return torch.zeros_like(place)
    distance = ((place + 1) * (span / 2)).abs()  # from the first border
    rest = distance - torch.floor(distance / (2 * span)) * (2 * span)
    return span - (rest - span).abs() + start


def _with_margin(size: int, align_corners: bool) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the indices of the elements of an image with a margin, in which it is reflected."""
    mirrored = range(size - 2, 0, -1) if align_corners else range(size - 1, -1, -1)
    period = [*range(size), *mirrored]
    return np.take(period, np.arange(-_MARGIN, size + _MARGIN), mode="wrap").astype(np.int64)
