"""Rewrites `expand` where it expands nothing, and where its users broadcast by themselves."""

from typing import Final

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import node_by_node, shape_of

aten = torch.ops.aten

_EXPANDS: Final = frozenset({aten.expand.default, aten.expand_as.default, aten.broadcast_to.default})
#: Operators of two tensors whose result has the shape to which both are broadcast.
_BROADCASTING: Final = frozenset(
    getattr(aten, name).Tensor for name in ("mul", "mul_", "add", "add_", "sub", "sub_", "div", "div_")
) | {aten.maximum.default, aten.minimum.default}


@node_by_node
def needless_expand(graph: torch.fx.Graph, node: torch.fx.Node) -> torch.fx.Node | None:
    """Remove each `expand` whose input does as well, such as a gate's in `x * gate.expand_as(x)`.

    The layout pass permutes what it takes and not the shape that it asks for, so that the converter finds a
    product of shapes that do not fit.
    """
    return node.args[0] if node.target in _EXPANDS and _needless(node) else None


def _needless(expand: torch.fx.Node) -> bool:
    shape = shape_of(expand.args[0])
    if shape is None or shape_of(expand) is None:
        return False
    return shape == shape_of(expand) or all(_broadcasts(user, expand, shape) for user in expand.users)


def _broadcasts(user: torch.fx.Node, expand: torch.fx.Node, shape: tuple[int, ...]) -> bool:
    """Whether `user` has the same result with a tensor of `shape` instead of the expanded one."""
    if user.target not in _BROADCASTING or len(user.args) != 2:
        return False
    left, right = user.args
    other = shape_of(left if right is expand else right)
    return other is not None and left is not right and torch.broadcast_shapes(other, shape) == shape_of(user)
