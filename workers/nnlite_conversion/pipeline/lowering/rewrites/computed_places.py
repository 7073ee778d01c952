"""Rewrites torchvision's operators that take pixels from computed places, as gathers of four pixels for each.

Deformable convolutions (v1, and v2 with a mask), and `roi_align` with a fixed number of samples.
"""

import math
from functools import reduce
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401  (registers the operators)
from numpy.typing import NDArray
from torch.nn import functional

from nnlite_conversion.pipeline.lowering.rewrites.graph import constant


def deformable_convolution(  # noqa: PLR0917  (the parameters of the operator)
    x: torch.Tensor,
    weight: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    bias: torch.Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> torch.Tensor:
    """Compute `deform_conv2d`: each element of a kernel takes a pixel of its own, between four of the image.

    The pixels become the channels of a convolution whose kernel has one element.
    """
    batch, channels = x.shape[:2]
    height, width = kernel = weight.shape[2:]
    size = offset.shape[2:]
    taps, places = math.prod(kernel), math.prod(size)
    rows = _grid(height, dilation_h, size[0], stride_h, pad_h)[:, None, :, None]
    columns = _grid(width, dilation_w, size[1], stride_w, pad_w)[None, :, None, :]
    moved = offset.reshape(batch * offset_groups, taps, 2, places)
    whole = (height, width, *size)
    y = moved[:, :, 0] + constant(np.broadcast_to(rows, whole).reshape(taps, places), offset)
    x_ = moved[:, :, 1] + constant(np.broadcast_to(columns, whole).reshape(taps, places), offset)
    # Around each image there are zeros, and beyond the first ones nothing else.
    images = functional.pad(x.reshape(batch * offset_groups, -1, *x.shape[2:]), (1, 1, 1, 1))
    below, right = images.shape[2] - 1, images.shape[3] - 1
    starts = np.arange(batch * offset_groups) * (below + 1) * (right + 1)
    first = constant(starts.astype(np.int32)).reshape(-1, 1, 1)
    y, x_ = (y + 1).clamp(0, below), (x_ + 1).clamp(0, right)
    pixels = _between(_rows(images), first, right + 1, _beside(y, below), _beside(x_, right))
    if use_mask:
        pixels = pixels * mask.reshape(batch * offset_groups, taps, places, 1)
    pixels = pixels.permute(0, 3, 1, 2).reshape(batch, channels * taps, *size)
    return functional.conv2d(pixels, weight.reshape(weight.shape[0], -1, 1, 1), bias, groups=groups)


def _grid(taps: int, dilation: int, size: int, stride: int, padding: int) -> NDArray[Any]:
    """Return where along one dimension each element of the kernel is, for each element of the result."""
    return np.arange(taps)[:, None] * dilation + np.arange(size) * stride - padding


def regions_by_index(  # noqa: PLR0917  (the parameters of the operator)
    x: torch.Tensor,
    rois: torch.Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """Compute `roi_align` of a fixed number of regions and samples; without one it depends on their sizes."""
    if sampling_ratio <= 0 or not isinstance(rois.shape[0], int):
        return NotImplemented
    height, width = x.shape[2:]
    half = 0.5 if aligned else 0.0
    image = rois[:, 0].to(torch.int32).reshape(-1, 1, 1)
    inside, places = [], []
    for first, pooled, size in ((2, pooled_height, height), (1, pooled_width, width)):
        start, end = (rois[:, each] * spatial_scale - half for each in (first, first + 2))
        length = end - start if aligned else (end - start).clamp(min=1.0)
        samples = (np.arange(pooled * sampling_ratio) + 0.5) / (pooled * sampling_ratio)
        place = start[:, None] + length[:, None] * constant(samples, x)
        inside.append(((place >= -1) & (place <= size)).to(x.dtype))
        places.append(place.clamp(0, size - 1))
    y, x_ = places[0][:, :, None], places[1][:, None, :]
    first = image * (height * width)
    pixels = _between(_rows(x), first, width, _beside(y, height - 1), _beside(x_, width - 1))
    pixels = pixels * (inside[0][:, :, None] * inside[1][:, None, :]).unsqueeze(-1)
    return functional.avg_pool2d(pixels.permute(0, 3, 1, 2), sampling_ratio)


def _rows(images: torch.Tensor) -> torch.Tensor:
    """Return the pixels of all images, one after the other: (pixel, channel)."""
    return images.flatten(2).transpose(1, 2).reshape(-1, images.shape[1])


#: Whole places before and after each place, with their shares.
_Beside = tuple[tuple[torch.Tensor, torch.Tensor], ...]


def _between(
    pixels: torch.Tensor, first: torch.Tensor, width: int, rows: _Beside, columns: _Beside
) -> torch.Tensor:
    """Return what is at places between pixels, by bilinear interpolation: channels are last.

    Args:
        pixels: (pixel, channel).
        first: index of the image's first pixel, for each place.
        width: of an image.
        rows, columns: the rows and columns beside each place.
    """
    results = []
    for row, of_row in rows:
        for column, of_column in columns:
            index = row * width + column + first
            taken = pixels.index_select(0, index.flatten()).reshape(*index.shape, -1)
            results.append(taken * (of_row * of_column).unsqueeze(-1))
    return reduce(torch.add, results)


def _beside(place: torch.Tensor, last: int) -> _Beside:
    """Return the two whole places beside each place, none behind the last, and their shares."""
    before = place.floor()
    share = place - before
    whole = before.to(torch.int32)
    return (whole, 1 - share), ((whole + 1).clamp(max=last), share)
