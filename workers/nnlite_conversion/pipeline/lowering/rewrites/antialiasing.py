"""Rewrites interpolation with `antialias=True`, as products with constant matrices of its weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import _disable_current_modes

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant

aten = torch.ops.aten


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
