"""Replaces operators that work in place by those that return the result, such as `relu_` by `relu`."""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch.fx import Graph, Node

from nnlite_conversion.pipeline.lowering.aten_operators import LeftToTorch, aten_name

aten = torch.ops.aten

_FRESH = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool2d add addmm avg_pool1d avg_pool2d
    batch_norm bmm cat clamp clone constant_pad_nd conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d convolution cos div elu exp gelu group_norm hardsigmoid hardswish
    hardtanh layer_norm leaky_relu linear log matmul max_pool1d max_pool2d mean mish mm mul neg pow
    prelu relu relu6 rsqrt sigmoid silu sin softmax softplus sqrt stack sub sum tanh upsample_bilinear2d
    upsample_nearest2d
"""
#: ATen operators whose results share no memory with their arguments.
FRESH = frozenset(_FRESH.split())


def without_in_place(graph: Graph, key: Callable[[Node], Hashable]) -> None:
    """Replace such operators in `graph`, and later uses of what they change by uses of their results.

    Args:
        key: identifies the type of a node's value.

    Raises:
        LeftToTorch: what one of them changes may be shared. Those before it are replaced.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node, number in order.items():
        if node.target is aten.dropout_.default and node.args[2] is False:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
            changed = _changed(node, order)
            pure = _pure(node)
            if key(node) != key(changed):
                raise LeftToTorch(f"{node.target} changes the type")
            node.target = pure
            changed.replace_all_uses_with(node, lambda user, number=number: order[user] > number)


def _changed(node: Node, order: dict[Node, int]) -> Node:
    """Return the node whose memory `node` changes, if nothing else shares it."""
    changed = node.args[0] if node.args else None
    if not isinstance(changed, Node):
        raise LeftToTorch(f"{node.target} changes no tensor")
    before = [user for user in changed.users if order[user] < order[node]]
    if not all(aten_name(each.target).removesuffix("_") in FRESH for each in (changed, *before)):
        raise LeftToTorch(f"{node.target} changes memory that may be shared")
    return changed


def _pure(node: Node) -> Any:
    """Return the operator that returns what the node's operator writes to its first argument."""
    schema = node.target._schema
    written = [each.name for each in schema.arguments if each.alias_info and each.alias_info.is_write]
    packet = getattr(aten, schema.name.removeprefix("aten::").removesuffix("_"), None)
    pure = getattr(packet, schema.overload_name or "default", None)
    if not schema.name.endswith("_") or written != [schema.arguments[0].name]:
        raise LeftToTorch(f"{node.target} changes {written}")
    if pure is None or pure._schema.is_mutable:
        raise LeftToTorch(f"{node.target} has no variant that returns its result")
    return pure
