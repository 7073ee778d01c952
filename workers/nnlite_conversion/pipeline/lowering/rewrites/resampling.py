"""Rewrites interpolation and sampling of images.

Interpolation to the nearest element, which LiteRT rounds otherwise than PyTorch; bilinear interpolation by a
scale that is not the ratio of the sizes, which LiteRT computes from them; with `antialias=True`, as products
with constant matrices of its weights; sampling beyond the border, where images are reflected: the
decomposition in litert-torch compares 8-bit integers, which LiteRT does not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import _disable_current_modes

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant

aten = torch.ops.aten

#: As the operator numbers modes of interpolation and of padding.
_NEAREST, _BICUBIC = 1, 2
_BORDER, _REFLECTION = 1, 2
#: How many elements beyond the border bicubic interpolation takes into account.
_MARGIN = 2


def nearest_by_index(
    x: torch.Tensor, size: Sequence[int] | None, scales: Sequence[float] | None
) -> torch.Tensor:
    """Compute `upsample_nearest2d` by picking rows and columns, where a size is no multiple of the input's.

    Whole multiples, which LiteRT's own operator gets right, are not changed.
    """
    factors: Sequence[float | None] = scales or (None, None)
    sizes = _sizes(x, size, scales)
    whole = [
        new % old == 0 and factor in (None, new / old)
        for old, new, factor in zip(x.shape[2:], sizes, factors, strict=True)
    ]
    if all(whole):
        return NotImplemented
    for dim, (new, factor) in enumerate(zip(sizes, factors, strict=True), start=2):
        x = _picked(x, dim, new, factor)
    return x


def _sizes(x: torch.Tensor, size: Sequence[int] | None, scales: Sequence[float] | None) -> Sequence[int]:
    """Return height and width of the result."""
    return size or [int(length * factor) for length, factor in zip(x.shape[2:], scales or (), strict=True)]


def _picked(x: torch.Tensor, dim: int, size: int, factor: float | None) -> torch.Tensor:
    """Return the elements along `dim` that PyTorch takes."""
    with _disable_current_modes():
        places = torch.arange(float(x.shape[dim])).view(1, 1, -1)
        taken = torch.ops.aten.upsample_nearest1d(places, [size], factor).flatten().numpy().astype(np.int64)
    return _taken(x, dim, taken)


def _taken(x: torch.Tensor, dim: int, places: NDArray[np.int64]) -> torch.Tensor:
    """Return the elements at places along `dim`."""
    if np.array_equal(places, np.arange(x.shape[dim])):
        return x
    steps = np.unique(np.diff(places))
    if len(steps) == 1 and steps[0] > 0:
        return torch.ops.aten.slice.Tensor(x, dim, int(places[0]), int(places[-1]) + 1, int(steps[0]))
    return torch.index_select(x, dim, constant(places))


def bilinear_by_index(
    x: torch.Tensor, size: Sequence[int] | None, align_corners: bool, scales: Sequence[float] | None
) -> torch.Tensor:
    """Compute `upsample_bilinear2d` from pairs of rows and columns, where a scale is no ratio of the sizes.

    LiteRT's own operator goes by the sizes only; with `align_corners` PyTorch does, too.
    """
    sizes = _sizes(x, size, scales)
    ratios = [new / old for old, new in zip(x.shape[2:], sizes, strict=True)]
    if align_corners or not scales or [*scales] == ratios or not x.is_floating_point():
        return NotImplemented
    for dim, (new, factor) in enumerate(zip(sizes, scales, strict=True), start=2):
        x = _mixed(x, dim, new, factor)
    return x


def _mixed(x: torch.Tensor, dim: int, size: int, factor: float) -> torch.Tensor:
    """Return what PyTorch makes of the two elements next to each place along `dim`."""
    last = x.shape[dim] - 1
    with _disable_current_modes():
        elements = torch.arange(last + 1, dtype=torch.float64).view(1, 1, -1)
        places = torch.ops.aten.upsample_linear1d(elements, [size], False, factor).flatten().numpy()
    before = np.floor(places).astype(np.int64)
    after = np.minimum(before + 1, last)
    shares = (places - before).reshape(-1, *[1] * (x.dim() - dim - 1))
    if not shares.any():
        return _taken(x, dim, before)
    return _taken(x, dim, before) * constant(1 - shares, x) + _taken(x, dim, after) * constant(shares, x)


def _antialiased(name: str, operator: Any) -> Callable[..., torch.Tensor]:
    """Return the rewrite of an operator by its weights."""

    def resampled(
        x: torch.Tensor,
        size: Sequence[int],
        align_corners: bool,
        scale_h: float | None = None,
        scale_w: float | None = None,
    ) -> torch.Tensor:
        """Resample rows, then columns: the weights of both dimensions are independent of each other."""
        rows = _weights(operator, x.shape[2], size[0], align_corners, scale_h)
        columns = _weights(operator, x.shape[3], size[1], align_corners, scale_w)
        return torch.matmul(torch.matmul(constant(rows.T, x), x), constant(columns, x))

    resampled.__name__ = name
    return resampled


def _weights(operator: Any, old: int, new: int, align_corners: bool, scale: float | None) -> NDArray[Any]:
    """Return what each of `old` elements adds to each of `new`: (old, new)."""
    with _disable_current_modes():
        units = torch.eye(old).view(1, 1, old, old)  # the rows of this image
        weights: NDArray[Any] = operator(units, [new, old], align_corners, scale, None)[0, 0].numpy()
    return weights.T


antialiased_bilinear = _antialiased("antialiased_bilinear", aten._upsample_bilinear2d_aa.default)
antialiased_bicubic = _antialiased("antialiased_bicubic", aten._upsample_bicubic2d_aa.default)


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
