"""Rewrites convolutions that litert-torch does not lower, whose padding has a name, or whose weights vary."""

import functools
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import (
    call,
    inherit_place,
    is_of_input,
    node_by_node,
    shape_of,
)

aten = torch.ops.aten

#: Of `aten.conv1d.padding` behind input and weight: bias, stride, padding, dilation, groups.
_DEFAULTS: tuple[Any, ...] = (None, None, None, [1], "valid", [1], 1)
_OF_IMAGES = (aten.conv2d.default, aten.conv2d.padding, aten.conv_transpose2d.input)
_RESHAPING = (aten.reshape.default, aten.view.default)
_OF_NAMED_PADDING = {aten.conv1d.padding: aten.conv1d.default, aten.conv3d.padding: aten.conv3d.default}


@node_by_node
def named_padding(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Give convolutions with padding `same` or `valid` the widths, which litert-torch takes for letters."""
    if node.target not in _OF_NAMED_PADDING:
        return None
    x, weight, bias, stride, padding, dilation, groups = chain(node.args, _DEFAULTS[len(node.args) :])
    shape = shape_of(weight)
    if shape is None or node.kwargs:
        return None
    kernel = shape[2:]
    # Defaults are one number for all dimensions, which only PyTorch understands.
    stride, dilations = (list(each) * (len(kernel) if len(each) == 1 else 1) for each in (stride, dilation))
    widths = [0] * len(kernel)
    if padding == "same":
        widths = [step * (size - 1) for step, size in zip(dilations, kernel, strict=True)]
    if any(width % 2 for width in widths):
        # The last dimension comes first; what is odd is at the end, as in PyTorch.
        sides = [side for width in reversed(widths) for side in (width // 2, width - width // 2)]
        x, widths = call(graph, aten.constant_pad_nd.default, x, sides), [0] * len(kernel)
    both = [width // 2 for width in widths]
    convolution = _OF_NAMED_PADDING[node.target]
    result = call(graph, convolution, x, weight, bias, stride, both, dilations, groups)
    inherit_place(result, node)
    return result


@node_by_node
def computed_weights(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Reshape weights that are computed from an input to a vector and back, which keeps their layout.

    Else litert-torch transposes the operators that compute them to the layout of images.
    """
    if node.target not in _OF_IMAGES or node.kwargs:
        return None
    x, weight, *others = node.args
    shape = shape_of(weight)
    if not isinstance(weight, torch.fx.Node) or shape is None or weight.target in _RESHAPING:
        return None
    if not is_of_input(weight):
        return None
    flat = call(graph, aten.reshape.default, weight, [-1])
    result = call(graph, node.target, x, call(graph, aten.reshape.default, flat, [*shape]), *others)
    inherit_place(result, node)
    return result


def unsupported_convolution(  # noqa: PLR0917  (the parameters of aten.convolution)
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
    """Compute a convolution that litert-torch does not lower, or lowers to what LiteRT does not run.

    These are transposed ones that LiteRT's own operator, which has no padding but none or `same`, does not
    compute, and those with groups over three dimensions.
    """
    rank = x.dim() - 2
    stride, padding, dilation, output_padding = (
        [*each] * rank if len(each) == 1 else [*each] for each in (stride, padding, dilation, output_padding)
    )
    if transposed:
        strided = any(each > 1 for each in stride)
        if (strided and any(each > 1 for each in dilation)) or (rank == 3 and (groups > 1 or strided)):
            parts = [
                _spread_convolution(part, kernel, stride, padding, dilation, output_padding)
                for part, kernel in zip(_parts(x, groups, 1), _parts(weight, groups, 0), strict=True)
            ]
            return _with_bias(torch.cat(parts, 1) if groups > 1 else parts[0], bias)
        if any(output_padding) or not _is_lowered(weight.shape[2:], stride, padding, groups):
            return _cut_convolution(x, weight, bias, stride, padding, dilation, output_padding, groups)
        return NotImplemented
    if rank == 3 and groups > 1:
        return _convolution_of_frames(x, weight, bias, stride, padding, dilation, groups)
    return NotImplemented


def _is_lowered(kernel: Sequence[int], stride: list[int], padding: list[int], groups: int) -> bool:
    """Whether LiteRT has the padding of a transposed convolution: none, or that of a multiple of the size."""
    if all(step == 1 for step in stride):
        return True  # it is a plain convolution
    same = all(2 * cut == size - step for size, step, cut in zip(kernel, stride, padding, strict=True))
    return (same or not any(padding)) and not _is_taken_for_interpolation(kernel, stride, groups)


def _is_taken_for_interpolation(kernel: Sequence[int], stride: Sequence[int], groups: int) -> bool:
    """Whether the converter makes a transposed convolution without padding `resize_bilinear`.

    It does with groups where one dimension has a stride, that of the kernel's size, whatever the weights are.
    """
    strides = [(size, step) for size, step in zip(kernel, stride, strict=True) if step > 1]
    return groups > 1 and len(strides) == 1 and strides[0][0] == strides[0][1]


def _cut_convolution(  # noqa: PLR0917
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    output_padding: list[int],
    groups: int,
) -> torch.Tensor:
    """Compute a transposed convolution as the middle of one without padding."""
    none = [0] * len(stride)
    number = groups if _is_taken_for_interpolation(weight.shape[2:], stride, groups) else 1
    longer = any(more > cut for cut, more in zip(padding, output_padding, strict=True))
    # Zeros that are added at the end get a bias, too.
    within, behind = (None, bias) if longer or number > 1 else (bias, None)
    parts = [
        aten.convolution.default(
            part, kernel, within, stride, none, dilation, True, none, groups // number
        )
        for part, kernel in zip(_parts(x, number, 1), _parts(weight, number, 0), strict=True)
    ]  # fmt: skip
    result = torch.cat(parts, 1) if number > 1 else parts[0]
    # Cut to size by negative widths; the last dimension comes first.
    widths = [
        width
        for cut, more in zip(reversed(padding), reversed(output_padding), strict=True)
        for width in (-cut, more - cut)
    ]
    return _with_bias(aten.constant_pad_nd(result, widths) if any(widths) else result, behind)


def _spread_convolution(  # noqa: PLR0917
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    output_padding: list[int],
) -> torch.Tensor:
    """Compute a transposed convolution as a plain one of the elements with zeros between them."""
    for dim, step in enumerate(stride, 2):
        x = _spread(x, dim, step)
    widths: list[int] = []
    for size, step, before, more in zip(
        reversed(weight.shape[2:]),
        reversed(dilation),
        reversed(padding),
        reversed(output_padding),
        strict=True,
    ):
        reach = step * (size - 1)
        widths += [reach - before, reach - before + more]
    dims = range(2, weight.dim())
    kernel = weight.transpose(0, 1).flip(list(dims))
    return aten.convolution.default(
        aten.constant_pad_nd(x, widths), kernel, None, [1] * len(stride), [0] * len(stride), dilation, False,
        [0] * len(stride), 1,
    )  # fmt: skip


def _spread(x: torch.Tensor, dim: int, step: int) -> torch.Tensor:
    """Return `x` with `step` - 1 zeros between the elements of a dimension."""
    if step == 1:
        return x
    before, length, after = x.shape[:dim], x.shape[dim], x.shape[dim + 1 :]
    flat = x.reshape(math.prod(before), length, 1, math.prod(after))
    flat = aten.constant_pad_nd(flat, [0, 0, 0, step - 1])
    return flat.reshape(*before, length * step, *after).narrow(dim, 0, (length - 1) * step + 1)


def _parts(x: torch.Tensor, number: int, dim: int) -> Sequence[torch.Tensor]:
    """Return equal parts of `x`; litert-torch does not lower the operator that returns only one."""
    return x.chunk(number, dim) if number > 1 else (x,)


def _with_bias(x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return x if bias is None else x + bias.view(-1, *[1] * (x.dim() - 2))


def _convolution_of_frames(  # noqa: PLR0917
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> torch.Tensor:
    """Compute a convolution with groups over depth, height and width.

    Each slice of the kernel's depth becomes a convolution of all frames, which are a batch then, with the
    same groups, and the results are added: LiteRT has fast ones for two dimensions, depthwise ones among
    them.
    """
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
