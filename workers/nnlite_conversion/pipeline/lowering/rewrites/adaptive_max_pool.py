"""Rewrites adaptive max pooling over one to three dimensions, which litert-torch does not lower."""

import math
import operator

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import call, node_by_node, shape_of

aten = torch.ops.aten

_POOLS = (
    aten.adaptive_max_pool1d.default,
    aten.adaptive_max_pool2d.default,
    aten.adaptive_max_pool3d.default,
)


@node_by_node
def adaptive_max_pool2d(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Replace adaptive max pooling over one to three dimensions by operators that can be lowered.

    Where the output size divides the input size it becomes `max_pool2d`. Otherwise the windows differ in
    size, floor(i * n / m) to ceil((i + 1) * n / m) for output i of m over n elements, and each dimension in
    turn becomes slices and `amax`: the maximum of a rectangle is the maximum of its columns' maxima. Nodes
    whose indices are used are not changed.
    """
    if node.target not in _POOLS:
        return None
    shape, sizes = shape_of(node.args[0]), _sizes(node.args[1])
    if shape is None or not _only_values_used(node):
        return None
    pooled = _pool(graph, node.args[0], shape, sizes)
    for part in list(node.users):
        part.replace_all_uses_with(pooled)
        graph.erase_node(part)
    return pooled


def _only_values_used(node: torch.fx.Node) -> bool:
    """Whether the second result, the indices, is unused; the graph unpacks it in any case."""
    return all(
        part.target is operator.getitem and (part.args[1] == 0 or not part.users) for part in node.users
    )


def _sizes(argument: object) -> tuple[int, ...]:
    return tuple(argument) if isinstance(argument, list | tuple) else (int(str(argument)),)


def _pool(
    graph: torch.fx.Graph, node: torch.fx.Node, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> torch.fx.Node:
    windows = [divmod(size, pooled) for size, pooled in zip(shape[-len(sizes) :], sizes, strict=True)]
    if len(sizes) == 2 and len(shape) == 4 and all(rest == 0 for _, rest in windows):
        kernel = [size for size, _ in windows]
        return call(graph, aten.max_pool2d.default, node, kernel, kernel)
    for dimension, pooled in enumerate(sizes, start=len(shape) - len(sizes)):
        node = _pool_dimension(graph, node, dimension, shape[dimension], pooled)
    return node


def _pool_dimension(
    graph: torch.fx.Graph, node: torch.fx.Node, dimension: int, size: int, pooled: int
) -> torch.fx.Node:
    if pooled == size:
        return node
    maxima = []
    for index in range(pooled):
        start, end = index * size // pooled, math.ceil((index + 1) * size / pooled)
        window = call(graph, aten.slice.Tensor, node, dimension, start, end)
        maxima.append(call(graph, aten.amax.default, window, [dimension], True))
    return call(graph, aten.cat.default, maxima, dimension) if len(maxima) > 1 else maxima[0]
