"""Rewrites `linear` on tensors of more than three dimensions."""

import math

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import call, shape_of

aten = torch.ops.aten


def high_rank_linear(graph: torch.fx.Graph) -> bool:
    """Replace a `linear` on more than three dimensions by a convolution with a kernel of one element.

    The converter turns such a `linear`, even one whose dimensions were flattened first, into a
    `tfl.batch_matmul` of a rank that it then refuses (Swin, MaxViT). The permutations around the convolution
    cost nothing: the layout pass removes them, because LiteRT's convolutions take channels last.
    """
    changed = False
    for node in list(graph.nodes):
        if node.target is not aten.linear.default:
            continue
        shape, weight = shape_of(node.args[0]), shape_of(node.args[1])
        if shape is None or weight is None or len(shape) <= 3 or len(weight) != 2:
            continue
        with graph.inserting_before(node):
            result = _convolution(graph, node, shape, weight)
        node.replace_all_uses_with(result)
        graph.erase_node(node)
        changed = True
    return changed


def _convolution(
    graph: torch.fx.Graph, node: torch.fx.Node, shape: tuple[int, ...], weight: tuple[int, ...]
) -> torch.fx.Node:
    image = node.args[0]
    if len(shape) > 4:
        rows = [shape[0], math.prod(shape[1:-2]), *shape[-2:]]
        image = call(graph, aten.reshape.default, image, rows)
    image = call(graph, aten.permute.default, image, [0, 3, 1, 2])
    kernel = call(graph, aten.reshape.default, node.args[1], [*weight, 1, 1])
    image = call(graph, aten.conv2d.default, image, kernel, *node.args[2:])
    image = call(graph, aten.permute.default, image, [0, 2, 3, 1])
    return call(graph, aten.reshape.default, image, [*shape[:-1], weight[0]])
