"""Rewrites attention with a mask that is computed from an input, which may exclude every place.

There PyTorch's `scaled_dot_product_attention` returns zeros, and the softmax that litert-torch makes of it
NaN. The kernels of PyTorch's layers return NaN as well.
"""

import math
import pydoc
from collections.abc import Callable

import torch

from nnlite_conversion.pipeline.lowering.attention_paths import is_of_kernel
from nnlite_conversion.pipeline.lowering.rewrites.graph import call, inherit_place, is_of_input

aten = torch.ops.aten

#: Place of the mask in the call, behind query, key and value.
_MASK = 3


def zeros_where_all_is_masked(graph: torch.fx.Graph) -> bool:
    """Let rows whose mask excludes every place attend to all of them, and replace what they get by zeros."""
    return _with_zeros(graph, lambda node: not _is_of_layer(node))


def zeros_where_layers_mask_all(graph: torch.fx.Graph) -> bool:
    """Do the same in PyTorch's own layers, but where they take a kernel, which returns NaN."""
    return _with_zeros(graph, lambda node: _is_of_layer(node) and not is_of_kernel(node))


def _with_zeros(graph: torch.fx.Graph, concerns: Callable[[torch.fx.Node], bool]) -> bool:
    known: dict[torch.fx.Node, tuple[torch.fx.Node, torch.fx.Node]] = {}  # layers share a mask
    for node in graph.find_nodes(op="call_function", target=aten.scaled_dot_product_attention.default):
        mask = node.args[_MASK] if len(node.args) > _MASK else node.kwargs.get("attn_mask")
        if not isinstance(mask, torch.fx.Node) or not is_of_input(mask) or not concerns(node):
            continue
        if mask not in known:
            with graph.inserting_before(node):
                known[mask] = _opened(graph, mask)
        closed, opened = known[mask]
        node.replace_input_with(mask, opened)
        with graph.inserting_after(node):
            result = call(graph, aten.masked_fill.Scalar, node, closed, 0.0)
        inherit_place(result, node)
        node.replace_all_uses_with(result, delete_user_cb=lambda user, result=result: user is not result)
    return bool(known)


def _opened(graph: torch.fx.Graph, mask: torch.fx.Node) -> tuple[torch.fx.Node, torch.fx.Node]:
    """Return which rows of a mask exclude every place, and the mask in which they exclude none."""
    if mask.meta["val"].dtype is torch.bool:
        closed = call(graph, aten.logical_not.default, call(graph, aten.any.dim, mask, -1, True))
        opened = call(graph, aten.logical_or.default, mask, closed)
    else:
        closed = call(graph, aten.eq.Scalar, call(graph, aten.amax.default, mask, [-1], True), -math.inf)
        opened = call(graph, aten.masked_fill.Scalar, mask, closed, 0.0)
    return closed, opened


def _is_of_layer(node: torch.fx.Node) -> bool:
    """Whether a call is that of `nn.MultiheadAttention`."""
    kinds = [pydoc.locate(kind) for _, kind in node.meta.get("nn_module_stack", {}).values()]
    return any(isinstance(kind, type) and issubclass(kind, torch.nn.MultiheadAttention) for kind in kinds)
