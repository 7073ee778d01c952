"""Rewrites convolutions over three dimensions with groups, on which the converter crashes."""

import functools
from collections.abc import Sequence

import torch

aten = torch.ops.aten


def grouped_convolution3d(  # noqa: PLR0917  (the parameters of aten.convolution)
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> torch.Tensor:
    """Compute a convolution with groups over depth, height and width.

    Each slice of the kernel's depth becomes a convolution of all frames, which are a batch then, with the
    same groups, and the results are added: LiteRT has fast ones for two dimensions, depthwise ones among
    them. A transposed one is split by groups.
    """
    if x.dim() != 5 or groups == 1:
        return NotImplemented
    stride, padding, dilation = (
        [*each] * 3 if len(each) == 1 else each for each in (stride, padding, dilation)
    )
    if transposed:
        parts = [
            aten.convolution.default(part, kernel, None, stride, padding, dilation, True, output_padding, 1)
            for part, kernel in zip(x.chunk(groups, 1), weight.chunk(groups, 0), strict=True)
        ]
        joined = torch.cat(parts, 1)
        return joined if bias is None else joined + bias.view(-1, 1, 1, 1)
    batch, channels, depth, *_ = x.shape
    frames = x.permute(0, 2, 1, 3, 4)
    if padding[0]:
        frames = aten.constant_pad_nd(frames, [0, 0, 0, 0, 0, 0, padding[0], padding[0]])
    taps = weight.shape[2]
    kept = (depth + 2 * padding[0] - dilation[0] * (taps - 1) - 1) // stride[0] + 1
    images = []
    for tap in range(taps):
        first = tap * dilation[0]
        seen = frames[:, first : first + (kept - 1) * stride[0] + 1 : stride[0]]
        image = aten.convolution.default(
            seen.reshape(batch * kept, channels, *x.shape[3:]), weight[:, :, tap], bias if tap == 0 else None,
            stride[1:], padding[1:], dilation[1:], False, [0, 0], groups,
        )  # fmt: skip
        images.append(image)
    total = functools.reduce(torch.add, images)
    return total.reshape(batch, kept, *total.shape[1:]).permute(0, 2, 1, 3, 4)
