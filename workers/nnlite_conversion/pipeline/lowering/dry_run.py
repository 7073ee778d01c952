"""Lowers a graph operator by operator and keeps what fails, instead of stopping there; no file is written.

Like `lower`, it depends on litert-torch's internal layout.
"""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from litert_torch import fx_infra
from litert_torch.backend import export, export_utils, lowerings
from litert_torch.backend.lowerings import utils
from torch.utils import _pytree as pytree

from nnlite_conversion.culprit import UnsupportedNode, has_no_size
from nnlite_conversion.pipeline.lowering import lower as lowering


def unsupported_nodes(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    """Return the nodes of a decomposed `program` that cannot be lowered, in order.

    Raises:
        Exception: a step other than the lowering of an operator fails; there is no base class.
    """
    failed: list[torch.fx.Node] = []

    class Collecting(export.LoweringInterpreter):  # type: ignore[misc]
        """Puts zeros in the place of results that cannot be computed."""

        def run_node(self, node: torch.fx.Node) -> Any:
            try:
                return super().run_node(node)
            except Exception:
                if node.op != "call_function":
                    raise
                failed.append(node)
                return pytree.tree_map(_zeros, node.meta.get("val"))

    try:
        with mock.patch.object(export, "LoweringInterpreter", Collecting):
            lowering.to_mlir(program)
    except UnsupportedNode:
        return list(_without_lowering(program.graph))
    except Exception:
        # The zeros behind a failed operator may fit no verification; what failed is known.
        if not failed:
            raise
    return failed


def _without_lowering(graph: torch.fx.Graph) -> Iterator[torch.fx.Node]:
    """Yield the nodes that have effects, no fixed size, or no lowering and no later decomposition."""
    later = fx_infra.decomp.pre_lower_decomp()
    for node in graph.nodes:
        effects = node.target is torch.ops.higher_order.with_effects
        if (
            effects
            or has_no_size(node)
            or (
                isinstance(node.target, torch._ops.OpOverload)
                and node.target not in later
                and lowerings.lookup(node.target) is None
            )
        ):
            yield node


def _zeros(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    shape = [size if isinstance(size, int) else 1 for size in value.shape]
    return utils.splat(0, export_utils.torch_dtype_to_ir_element_type(value.dtype), shape)
