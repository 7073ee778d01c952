"""Functions on torch.fx graphs that rewrites share: the shape of a node, and new nodes with a shape."""

import torch
from torch.fx.node import map_arg


def shape_of(node: object) -> tuple[int, ...] | None:
    """Return the shape of `node`'s tensor; None where it is no tensor or its shape is not static."""
    value = node.meta.get("val") if isinstance(node, torch.fx.Node) else None
    if not isinstance(value, torch.Tensor) or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(value.shape)


def call(graph: torch.fx.Graph, operator: torch._ops.OpOverload, *arguments: object) -> torch.fx.Node:
    """Insert a call of an ATen operator, with its fake result in `meta`, which later passes read."""
    node = graph.call_function(operator, arguments)
    node.meta["val"] = operator(*map_arg(arguments, lambda argument: argument.meta["val"]))
    return node
