"""Rewrites `expand` where it expands nothing."""

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import shape_of

aten = torch.ops.aten


def idle_expand(graph: torch.fx.Graph) -> bool:
    """Remove each `expand` and `expand_as` whose result has the shape of its input.

    The layout pass permutes what it takes and not the shape that it asks for, so that the converter finds a
    product of shapes that do not fit.
    """
    changed = False
    for node in list(graph.nodes):
        if node.target not in (aten.expand.default, aten.expand_as.default):
            continue
        shape = shape_of(node)
        if shape is None or shape != shape_of(node.args[0]):
            continue
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)
        changed = True
    return changed
