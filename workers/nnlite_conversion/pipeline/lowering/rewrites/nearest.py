"""Rewrites interpolation to the nearest element, which LiteRT rounds otherwise than PyTorch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils._python_dispatch import _disable_current_modes

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant


def nearest_by_index(
    x: torch.Tensor, size: Sequence[int] | None, scales: Sequence[float] | None
) -> torch.Tensor:
    """Compute `upsample_nearest2d` by picking rows and columns, where a size is no multiple of the input's.

    Whole multiples, which LiteRT's own operator gets right, are not changed.
    """
    factors: Sequence[float | None] = scales or (None, None)
    sizes = size or [int(length * factor) for length, factor in zip(x.shape[2:], scales or (), strict=True)]
    whole = [
        new % old == 0 and factor in (None, new / old)
        for old, new, factor in zip(x.shape[2:], sizes, factors, strict=True)
    ]
    if all(whole):
        return NotImplemented
    for dim, (new, factor) in enumerate(zip(sizes, factors, strict=True), start=2):
        x = _picked(x, dim, new, factor)
    return x


def _picked(x: torch.Tensor, dim: int, size: int, factor: float | None) -> torch.Tensor:
    """Return the elements along `dim` that PyTorch takes."""
    with _disable_current_modes():
        places = torch.arange(float(x.shape[dim])).view(1, 1, -1)
        taken = torch.ops.aten.upsample_nearest1d(places, [size], factor).flatten().numpy().astype(np.int64)
    if np.array_equal(taken, np.arange(x.shape[dim])):
        return x
    steps = np.unique(np.diff(taken))
    if len(steps) == 1 and steps[0] > 0:
        return torch.ops.aten.slice.Tensor(x, dim, int(taken[0]), int(taken[-1]) + 1, int(steps[0]))
    return torch.index_select(x, dim, constant(taken))
