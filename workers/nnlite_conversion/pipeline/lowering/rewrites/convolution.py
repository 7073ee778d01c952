"""Rewrites convolutions: those with groups over three dimensions, and those whose padding has a name."""

import functools
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import call, shape_of

aten = torch.ops.aten

#: Of `aten.conv1d.padding` behind input and weight: bias, stride, padding, dilation, groups.
_DEFAULTS: tuple[Any, ...] = (None, None, None, [1], "valid", [1], 1)
#: Where a node comes from, for messages.
_PLACE = ("stack_trace", "nn_module_stack")


_OF_NAMED_PADDING = {aten.conv1d.padding: aten.conv1d.default, aten.conv3d.padding: aten.conv3d.default}


def named_padding(graph: torch.fx.Graph) -> bool:
    """Give convolutions with padding `same` or `valid` the widths, which litert-torch takes for letters."""
    changed = False
    for node in list(graph.nodes):
        if node.target not in _OF_NAMED_PADDING:
            continue
        x, weight, bias, stride, padding, dilation, groups = chain(node.args, _DEFAULTS[len(node.args) :])
        shape = shape_of(weight)
        if shape is None or node.kwargs:
            continue
        kernel = shape[2:]
        dilations = list(dilation) * (len(kernel) if len(dilation) == 1 else 1)
        widths = [0] * len(kernel)
        if padding == "same":
            widths = [step * (size - 1) for step, size in zip(dilations, kernel, strict=True)]
        with graph.inserting_before(node):
            if any(width % 2 for width in widths):
                # The last dimension comes first; what is odd is at the end, as in PyTorch.
                sides = [side for width in reversed(widths) for side in (width // 2, width - width // 2)]
                x, widths = call(graph, aten.constant_pad_nd.default, x, sides), [0] * len(kernel)
            both = [width // 2 for width in widths]
            convolution = _OF_NAMED_PADDING[node.target]
            result = call(graph, convolution, x, weight, bias, stride, both, dilation, groups)
        result.meta.update({key: node.meta[key] for key in _PLACE if key in node.meta})
        node.replace_all_uses_with(result)
        graph.erase_node(node)
        changed = True
    return changed


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
