"""Traces the functional graph of an exported program again, as rewrites of operators need it."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch._export.passes.lift_constants_pass import ConstantAttrMap, lift_constants_pass
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta

from nnlite_conversion.pipeline.lowering.decomposition_tables import Table, prepared_table


def traced_again(
    program: ExportedProgram, table: Table, interpreter: torch.fx.Interpreter
) -> ExportedProgram:
    """Return `program`, whose graph is functional, as `interpreter` runs it, with `table` applied.

    Raises:
        Exception: tracing fails, or its result is no valid program; there is no base class.
    """
    inputs = program.graph.find_nodes(op="placeholder")
    fakes = [node.meta["val"] for node in inputs]

    def run(*arguments: Any) -> Any:
        return interpreter.run(*arguments, enable_io_processing=False)

    prepared = prepared_table(table)
    with (
        torch.no_grad(),
        preserve_node_meta(),
        torch._guards.detect_fake_mode(fakes),
        prepared.active(),
    ):
        traced = make_fx(run, decomposition_table=prepared.decompositions)(*fakes)
    _keep_inputs(inputs, traced.graph)
    output = traced.graph.output_node()
    results = output.args[0] if isinstance(output.args[0], tuple | list) else (output.args[0],)
    output.args = (tuple(results),)
    signature = with_results(program.graph_signature, results)
    constants = _lifted_constants(traced, signature)
    traced.recompile()
    # Verifies the graph: one that is not functional raises.
    return program._update(traced, signature, constants={**program.constants, **constants})


def _keep_inputs(old: list[torch.fx.Node], graph: torch.fx.Graph) -> None:
    """Give the inputs of a traced graph the names that signature and state dict use."""
    for before, after in zip(old, [n for n in graph.nodes if n.op == "placeholder"], strict=True):
        after.name, after.target = before.name, before.target
        after.meta = {**before.meta, **{key: after.meta[key] for key in ("val", "tensor_meta")}}


def _lifted_constants(traced: torch.fx.GraphModule, signature: ExportGraphSignature) -> dict[str, Any]:
    """Make the constants of rewrites inputs of the graph, as those of the network are."""
    for node in traced.graph.find_nodes(op="get_attr"):
        node.meta.setdefault("nn_module_stack", {})
    return dict(lift_constants_pass(traced, signature, ConstantAttrMap()))


def with_results(old: ExportGraphSignature, results: Iterable[torch.fx.Node]) -> ExportGraphSignature:
    """Return a program's signature with other nodes as its results."""
    specs = [
        dataclasses.replace(spec, arg=dataclasses.replace(spec.arg, name=result.name))
        for spec, result in zip(old.output_specs, results, strict=True)
    ]
    return ExportGraphSignature(input_specs=[*old.input_specs], output_specs=specs)
