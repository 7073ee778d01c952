"""Rewrites of operators that move elements, where LiteRT has too few dimensions for how they are lowered."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant

aten = torch.ops.aten

#: Most dimensions of a tensor whose windows and paddings litert-torch lowers.
_WINDOWS, _PADDED = 3, 5


def flips_of_neighbours(x: torch.Tensor, dimensions: Sequence[int]) -> torch.Tensor:
    """Compute `flip` by one for each run of neighbouring dimensions; LiteRT takes no others."""
    axes = sorted(dimension % x.dim() for dimension in dimensions)
    starts = [place for place, axis in enumerate(axes) if axis - 1 not in axes]
    if len(starts) < 2:
        return NotImplemented
    for start, end in zip(starts, [*starts[1:], len(axes)], strict=True):
        x = x.flip(axes[start:end])
    return x


def windows_by_index(x: torch.Tensor, dimension: int, size: int, step: int) -> torch.Tensor:
    """Compute `unfold` of a tensor: windows of a dimension, whose elements are in a new last one."""
    if x.dim() <= _WINDOWS:
        return NotImplemented
    axis = dimension % x.dim()
    before, length, after = as_three(x.shape, axis)
    count = (length - size) // step + 1
    rows = x.reshape(before, length, after)
    if size == step or count == 1:
        rows = rows if count * size == length else rows[:, : count * size]
    else:
        places = np.arange(count)[:, None] * step + np.arange(size)
        rows = rows.index_select(1, constant(places.flatten()))
    windows = rows.reshape(before, count, size, after).transpose(2, 3)
    return windows.reshape(*x.shape[:axis], count, *x.shape[axis + 1 :], size)


def padding_of_one_dimension(x: torch.Tensor, widths: Sequence[int], value: float = 0) -> torch.Tensor:
    """Compute `constant_pad_nd` of a tensor of high rank, one dimension after the other."""
    if x.dim() <= _PADDED or max(widths) <= 0:
        return NotImplemented
    for number, ends in enumerate(zip(widths[::2], widths[1::2], strict=True), start=1):
        if any(ends):
            axis = x.dim() - number
            padded = aten.constant_pad_nd.default(x.reshape(as_three(x.shape, axis)), [0, 0, *ends], value)
            x = padded.reshape(*x.shape[:axis], padded.shape[1], *x.shape[axis + 1 :])
    return x


def places_of_upper_triangle(rows: int, columns: int, offset: int = 0, **_: Any) -> torch.Tensor:
    """Compute `triu_indices`, a constant."""
    return constant(np.stack(np.triu_indices(rows, offset, columns)))


def places_of_lower_triangle(rows: int, columns: int, offset: int = 0, **_: Any) -> torch.Tensor:
    """Compute `tril_indices`, a constant."""
    return constant(np.stack(np.tril_indices(rows, offset, columns)))


def as_three(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    """Return a shape in which the dimensions before and after one are joined."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
