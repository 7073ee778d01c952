"""Rewrites deformable convolutions (v1, and v2 with a mask) as gathers of their pixels and a convolution."""

import math
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401  (registers the operator)
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
    pixels = _between(x.reshape(batch * offset_groups, -1, *x.shape[2:]), y, x_)
    if use_mask:
        pixels = pixels * mask.reshape(batch * offset_groups, taps, places, 1)
    pixels = pixels.permute(0, 3, 1, 2).reshape(batch, channels * taps, *size)
    return functional.conv2d(pixels, weight.reshape(weight.shape[0], -1, 1, 1), bias, groups=groups)


def _grid(taps: int, dilation: int, size: int, stride: int, padding: int) -> NDArray[Any]:
    """Return where along one dimension each element of the kernel is, for each element of the result."""
    return np.arange(taps)[:, None] * dilation + np.arange(size) * stride - padding


def _between(images: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return what is at places between the pixels of images, by bilinear interpolation: channels are last.

    Args:
        images: (image, channel, row, column); there are zeros around them.
        y, x: the places, (image, ...).
    """
    number, channels, height, width = images.shape
    padded = functional.pad(images, (1, 1, 1, 1)).flatten(2).transpose(1, 2).reshape(-1, channels)
    # Beyond the zeros next to the image there are only zeros.
    y, x = y.clamp(-1, height) + 1, x.clamp(-1, width) + 1
    first_image = constant(np.arange(number) * (height + 2) * (width + 2)).to(torch.int32)
    result = torch.zeros((), dtype=images.dtype)
    for row, of_row in _neighbours(y, height + 1):
        for column, of_column in _neighbours(x, width + 1):
            index = row * (width + 2) + column + first_image.reshape(-1, *[1] * (y.dim() - 1))
            pixels = padded.index_select(0, index.flatten()).reshape(*index.shape, channels)
            result = result + pixels * (of_row * of_column).unsqueeze(-1)
    return result


def _neighbours(place: torch.Tensor, last: int) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """Return the two whole places next to each place, and their shares."""
    before = place.floor()
    share = place - before
    whole = before.to(torch.int32)
    return (whole, 1 - share), ((whole + 1).clamp(max=last), share)
