"""Rewrites of exported graphs, for operators that litert-torch does not lower.

A rewrite takes the ATen graph that `torch.export` returns, before decomposition, changes it in place, and
returns whether it did; the graph computes the same numbers. To add one: a module here, an entry in
`REWRITES`, its name in `cache_key.REWRITES`, a test.
"""

from collections.abc import Callable

import torch

from nnlite_conversion.pipeline.lowering.rewrites.adaptive_max_pool import adaptive_max_pool2d
from nnlite_conversion.pipeline.lowering.rewrites.linear import high_rank_linear

Rewrite = Callable[[torch.fx.Graph], bool]

#: In the order in which they run. Their names are stored with the artifact; `cache_key` has all of them.
REWRITES: tuple[Rewrite, ...] = (adaptive_max_pool2d, high_rank_linear)


def apply_rewrites(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    """Run every rewrite on `program` in place; return the names of those that changed it."""
    graph = program.graph_module.graph
    changed = tuple(rewrite.__name__ for rewrite in REWRITES if rewrite(graph))
    if changed:
        graph.eliminate_dead_code()
        graph.lint()
        program.graph_module.recompile()
    return changed
