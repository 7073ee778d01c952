"""What rewrites need of torch.fx: shapes of nodes, and new nodes with shapes of their own."""

import torch
from torch.fx.node import map_arg


def shape_of(node: object) -> tuple[int, ...] | None:
    """Return the static shape of the tensor that `node` makes; None where it is no tensor or not static."""
    value = node.meta.get("val") if isinstance(node, torch.fx.Node) else None
    if not isinstance(value, torch.Tensor) or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(value.shape)


def call(graph: torch.fx.Graph, operator: torch._ops.OpOverload, *arguments: object) -> torch.fx.Node:
    """Insert a call of an ATen operator together with its fake result, which later passes read."""
    node = graph.call_function(operator, arguments)
    node.meta["val"] = operator(*map_arg(arguments, lambda argument: argument.meta["val"]))
    return node
