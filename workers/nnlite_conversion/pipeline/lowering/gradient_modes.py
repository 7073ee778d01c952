"""Puts what a network computes in another gradient mode, as by `torch.enable_grad()`, among the rest.

torch.export keeps such a region as a graph of its own. Artifacts compute no gradients, so that the mode has
no meaning in them; code that asks for gradients is refused.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.export import ExportedProgram

from nnlite_conversion.pipeline.lowering.retracing import with_results

_REGION = torch.ops.higher_order.wrap_with_set_grad_enabled


#: What all functions of `torch.autograd` and `torch.func` call that compute derivatives.
_DERIVATIVES = (
    (torch.autograd, "_engine_run_backward"),
    (torch._functorch.eager_transforms, "grad_increment_nesting"),
    (torch._functorch.eager_transforms, "jvp_increment_nesting"),
    (torch.autograd.forward_ad, "enter_dual_level"),
)


class ComputesDerivatives(Exception):
    """The code computes derivatives."""


@contextmanager
def without_derivatives() -> Iterator[None]:
    """Raise `ComputesDerivatives` inside the block for code that computes some."""

    def refuse(*_: Any, **__: Any) -> None:
        raise ComputesDerivatives("derivatives cannot be traced")

    with ExitStack() as stack:
        for module, name in _DERIVATIVES:
            stack.enter_context(patch.object(module, name, refuse))
        stack.callback(_leave_transforms)
        yield


def _leave_transforms() -> None:
    """Leave what a function of torch.vmap has not left when it failed in a trace."""
    functorch = torch._C._functorch
    while functorch.maybe_current_level() is not None:
        functorch.pop_dynamic_layer_stack()


def without_gradient_modes(program: ExportedProgram) -> None:
    """Replace the regions of `program` by what they contain, in place."""
    if not _inline_regions(program.graph_module):
        return
    graph = program.graph_module.graph
    program._graph_signature = with_results(program.graph_signature, graph.output_node().args[0])
    graph.lint()
    program.graph_module.recompile()


def _inline_regions(module: torch.fx.GraphModule) -> bool:
    regions = module.graph.find_nodes(op="call_function", target=_REGION)
    for node in regions:
        _, body, *arguments = node.args
        region = getattr(module, body.target)
        _inline_regions(region)
        known = dict(zip(region.graph.find_nodes(op="placeholder"), arguments, strict=True))
        with module.graph.inserting_before(node):
            results = module.graph.graph_copy(region.graph, known)
        for user in list(node.users):
            user.replace_all_uses_with(results[user.args[1]])
            module.graph.erase_node(user)
        module.graph.erase_node(node)
        if not body.users:
            module.graph.erase_node(body)
    return bool(regions)
