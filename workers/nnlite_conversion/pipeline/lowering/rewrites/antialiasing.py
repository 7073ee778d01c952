"""Rewrites interpolation with `antialias=True`, as products with constant matrices of its weights."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import _disable_current_modes

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant

aten = torch.ops.aten


def antialiased_bilinear(
    x: torch.Tensor,
    size: Sequence[int],
    align_corners: bool,
    scale_h: float | None = None,
    scale_w: float | None = None,
) -> torch.Tensor:
    """Compute `interpolate(mode="bilinear", antialias=True)`."""
    return _resampled(aten._upsample_bilinear2d_aa.default, x, size, align_corners, (scale_h, scale_w))


def antialiased_bicubic(
    x: torch.Tensor,
    size: Sequence[int],
    align_corners: bool,
    scale_h: float | None = None,
    scale_w: float | None = None,
) -> torch.Tensor:
    """Compute `interpolate(mode="bicubic", antialias=True)`."""
    return _resampled(aten._upsample_bicubic2d_aa.default, x, size, align_corners, (scale_h, scale_w))


def _resampled(
    operator: Any, x: torch.Tensor, size: Sequence[int], align_corners: bool, scales: Sequence[float | None]
) -> torch.Tensor:
    """Resample rows, then columns: the weights of both dimensions are independent of each other."""
    rows = _weights(operator, x.shape[2], size[0], align_corners, scales[0])
    columns = _weights(operator, x.shape[3], size[1], align_corners, scales[1])
    return torch.matmul(torch.matmul(constant(rows.T, x), x), constant(columns, x))


def _weights(operator: Any, old: int, new: int, align_corners: bool, scale: float | None) -> NDArray[Any]:
    """Return what each of `old` elements adds to each of `new`: (old, new)."""
    with _disable_current_modes():
        units = torch.eye(old).view(1, 1, old, old)  # the rows of this image
        weights: NDArray[Any] = operator(units, [new, old], align_corners, scale, None)[0, 0].numpy()
    return weights.T
