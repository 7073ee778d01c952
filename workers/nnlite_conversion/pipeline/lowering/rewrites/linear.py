"""Rewrites `linear` on tensors of more than three dimensions, and products of three tensors."""

import math
from collections.abc import Sequence
from functools import reduce

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import call, node_by_node, shape_of

aten = torch.ops.aten


@node_by_node
def high_rank_linear(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Replace a `linear` on more than three dimensions by a convolution with a kernel of one element.

    The converter turns such a `linear`, even one whose dimensions were flattened first, into a
    `tfl.batch_matmul` of a rank that it then refuses (Swin, MaxViT). The permutations around the convolution
    cost nothing: the layout pass removes them, because LiteRT's convolutions take channels last.
    """
    if node.target is not aten.linear.default:
        return None
    image = node.args[0]
    shape, weight = shape_of(image), shape_of(node.args[1])
    if shape is None or weight is None or len(shape) <= 3 or len(weight) != 2:
        return None
    if len(shape) > 4:
        rows = [shape[0], math.prod(shape[1:-2]), *shape[-2:]]
        image = call(graph, aten.reshape.default, image, rows)
    image = call(graph, aten.permute.default, image, [0, 3, 1, 2])
    kernel = call(graph, aten.reshape.default, node.args[1], [*weight, 1, 1])
    image = call(graph, aten.conv2d.default, image, kernel, *node.args[2:])
    image = call(graph, aten.permute.default, image, [0, 2, 3, 1])
    return call(graph, aten.reshape.default, image, [*shape[:-1], weight[0]])


def trilinear_product(  # noqa: PLR0917  (the parameters of the operator)
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    summed: Sequence[int],
    unroll: int = 1,
) -> torch.Tensor:
    """Compute `_trilinear`, which bilinear layers are made of: the product of three, summed."""
    factors = (
        reduce(torch.unsqueeze, sorted(dims), factor)
        for factor, dims in ((a, expand_a), (b, expand_b), (c, expand_c))
    )
    return reduce(torch.mul, factors).sum(list(summed))


def product_with_matrix(equation: str, tensors: Sequence[torch.Tensor], **_: object) -> torch.Tensor:
    """Compute an `einsum` that multiplies a dimension other than the last by a matrix.

    `bchw,cd->bdhw` is lowered to a fully connected layer whose input is not transposed.
    """
    inputs, _arrow, output = equation.replace(" ", "").partition("->")
    left, _comma, right = inputs.partition(",")
    shared = set(left) & set(right)
    if len(right) != 2 or len(set(left + right)) != len(left) + 1 or len(shared) != 1 or "." in equation:
        return NotImplemented
    (summed,) = shared
    kept = right.replace(summed, "")
    if left[-1] == summed or sorted(output) != sorted(left.replace(summed, kept)):
        return NotImplemented
    x, matrix = tensors
    if right[0] != summed:
        matrix = matrix.t()
    letters = left.replace(summed, "") + kept
    product = x.movedim(left.index(summed), -1) @ matrix
    return product.permute([letters.index(letter) for letter in output])
