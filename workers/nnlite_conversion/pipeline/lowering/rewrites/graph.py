"""What rewrites share: a pass over the nodes, new nodes with a shape, constants, a limit of comparisons."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.utils._python_dispatch import _disable_current_modes

#: Most comparisons, and so elements of one tensor.
MAX_COMPARISONS = 1 << 26
#: Beginnings of the names that torch.export gives parameters, buffers and constants.
_PARAMETERS = ("p_", "b_", "c_")


def node_by_node(
    replacement: Callable[[torch.fx.Graph, torch.fx.Node], torch.fx.Node | None],
) -> Callable[[torch.fx.Graph], bool]:
    """Make a rewrite of the graph of a function that returns what takes a node's place.

    The function inserts new nodes before the node; None: the node stays.
    """

    @wraps(replacement)
    def rewrite(graph: torch.fx.Graph) -> bool:
        changed = False
        for node in list(graph.nodes):
            with graph.inserting_before(node):
                result = replacement(graph, node)
            if result is not None:
                node.replace_all_uses_with(result)
                graph.erase_node(node)
                changed = True
        return changed

    return rewrite


def inherit_place(result: torch.fx.Node, node: torch.fx.Node) -> None:
    """Let messages name the line and the layer of `node` for the result that takes its place."""
    result.meta |= {key: node.meta[key] for key in ("stack_trace", "nn_module_stack") if key in node.meta}


def is_of_input(node: torch.fx.Node) -> bool:
    """Whether a node is an input of the network, or computed from one; no recursion: graphs are deep."""
    known, todo = {node}, [node]
    while todo:
        each = todo.pop()
        if each.op == "placeholder" and not each.name.startswith(_PARAMETERS):
            return True
        new = set(each.all_input_nodes) - known
        known |= new
        todo += new
    return False


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


def inline(
    graph: torch.fx.Graph, function: Callable[..., torch.Tensor], *arguments: torch.fx.Node
) -> torch.fx.Node:
    """Insert the operators of a function of tensors; return its result. It makes no constants."""

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        return function(*tensors)

    fakes = [argument.meta["val"] for argument in arguments]
    with torch.no_grad(), torch._guards.detect_fake_mode(fakes):
        traced = make_fx(run)(*fakes).graph
    inputs = dict(zip(traced.find_nodes(op="placeholder"), arguments, strict=True))
    return graph.graph_copy(traced, inputs)


def constant(values: NDArray[Any], like: torch.Tensor | None = None) -> torch.Tensor:
    """Return a constant of the graph that is being traced; of the type of `like`, if given."""
    with _disable_current_modes():
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        return tensor if like is None else tensor.to(like.dtype)


class TooLarge(NotImplementedError):
    """An operator of more elements than can be compared."""


def require_few(comparisons: int, what: str, remedy: str) -> None:
    """Raise `TooLarge` where there are too many comparisons.

    Args:
        what: what compares them, for the message.
        remedy: what the model's author can do.
    """
    if comparisons > MAX_COMPARISONS:
        raise TooLarge(f"{what} takes {comparisons:,} comparisons (at most {MAX_COMPARISONS:,}); {remedy}")
