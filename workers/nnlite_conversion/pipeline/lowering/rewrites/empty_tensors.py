"""Replaces what operators compute from tensors without elements, on which the converter or LiteRT fails.

Such tensors come from layers without channels, as `Linear(3, 3 // 16)`, and from empty slices. A result with
elements that follows from them is a constant, but for another argument: a product over nothing is zero, of a
linear layer its bias is left, of parts to join the others.
"""

from functools import partial
from typing import Any, Final

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from nnlite_conversion.culprit import EmptyTensorNode
from nnlite_conversion.pipeline.lowering.aten_operators import aten_name
from nnlite_conversion.pipeline.lowering.rewrites.graph import call, inherit_place, inline

aten = torch.ops.aten

#: Operators that add a product to an argument, with the argument's place.
_ADDED: Final = {"linear": 2, "addmm": 0, "baddbmm": 0, "addbmm": 0, "addmv": 0}
#: Results do not depend on the other factors when one is empty.
_PRODUCTS: Final = frozenset({"einsum", "scaled_dot_product_attention"})
_JOINS: Final = frozenset({"cat", "concat", "concatenate"})
#: Operators that change nothing in their first argument when what they write is empty.
_WRITES: Final = frozenset(
    {
        "index_put", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill",
        "index_reduce", "slice_scatter",
    }
)  # fmt: skip
#: They take only the type of an empty tensor.
_TYPES: Final = frozenset({"to", "type_as"})


def without_empty_tensors(graph: Graph) -> bool:
    """Replace results that follow from empty tensors, and drop the operators that gave these.

    Raises:
        EmptyTensorNode: an operator computes something of an empty tensor and others that is not known here.
    """
    several: dict[Node, Any] = {}
    changed = False
    for node in list(graph.nodes):
        of_empty = any(each in several or _is_empty(each) for each in node.all_input_nodes)
        if node.op != "call_function" or not of_empty or _is_empty(node) or aten_name(node.target) in _TYPES:
            continue
        with graph.inserting_before(node):
            result = _result(graph, node, several)
        if isinstance(result, Node):
            inherit_place(result, node)
            node.replace_all_uses_with(result)
            graph.erase_node(node)
            changed = True
        else:
            several[node] = result
    if changed:
        for node in reversed(list(graph.nodes)):
            # Operators that write in place are not found dead otherwise.
            if node.op == "call_function" and not node.users and (_is_empty(node) or node in several):
                graph.erase_node(node)
    return changed


def _result(graph: Graph, node: Node, several: dict[Node, Any]) -> Any:
    """Return a node with the result of `node`; of one with several results, these.

    Args:
        several: results of earlier nodes with several.
    """
    name, inputs = aten_name(node.target), node.all_input_nodes
    if name in _JOINS:
        parts = [part for part in node.args[0] if not _is_empty(part)]
        return call(graph, aten.cat.default, parts, *node.args[1:], *node.kwargs.values())
    if name.removesuffix("_") in _WRITES and not _is_empty(node.args[0]):
        return node.args[0] if name.endswith("_") else call(graph, aten.clone.default, node.args[0])
    added = node.args[_ADDED[name]] if name in _ADDED and len(node.args) > _ADDED[name] else None
    if added is not None:
        scale, shape = node.kwargs.get("beta", 1), node.meta["val"].shape
        return inline(graph, partial(_expanded, scale=scale, shape=shape), added)
    constant = name in _ADDED or name in _PRODUCTS
    if not constant and not all(each in several or _is_empty(each) for each in inputs):
        raise EmptyTensorNode(node)
    args, kwargs = map_arg(
        (node.args, node.kwargs), lambda each: several[each] if each in several else _zeros(each)
    )
    with torch.no_grad():
        result = node.target(*args, **kwargs)
    return _constant(graph, node, result) if isinstance(result, torch.Tensor) else result


def _expanded(x: torch.Tensor, scale: float, shape: torch.Size) -> torch.Tensor:
    return (x if scale == 1 else x * scale).expand(shape).clone()


def _constant(graph: Graph, node: Node, tensor: torch.Tensor) -> Node:
    """Insert a constant of equal elements."""
    element = tensor.flatten()[0]
    if not torch.equal(tensor.nan_to_num(), element.nan_to_num().expand_as(tensor)):
        raise EmptyTensorNode(node)
    result = graph.call_function(
        aten.full.default, (list(tensor.shape), element.item()), {"dtype": tensor.dtype}
    )
    result.meta["val"] = node.meta["val"]
    return result


def _is_empty(node: Node) -> bool:
    """Whether a node gives a tensor or several, and none has elements."""
    value = node.meta.get("val")
    tensors = [each for each in tree_leaves(value) if isinstance(each, torch.Tensor)]
    # A comparison of a size that is a symbol would fix it.
    return bool(tensors) and all(
        any(isinstance(size, int) and size == 0 for size in each.shape) for each in tensors
    )


def _zeros(node: Node) -> torch.Tensor:
    value = node.meta["val"]
    return torch.zeros(value.shape, dtype=value.dtype)
