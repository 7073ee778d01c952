"""Decomposes a graph by retracing it, where that is known to give the same graph as torch's decomposition.

litert-torch decomposes an exported program three or four times, and each time torch runs its whole
ahead-of-time machinery, which takes most of a conversion. After the first decomposition the graph is
functional, and retracing it with the decomposition table gives the same operators in less time. This was
verified for the operators in `ALLOWED`; a graph with any other operator, before or after, is decomposed by
torch.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch._export.passes.lift_constants_pass import ConstantAttrMap, lift_constants_pass
from torch.export import ExportedProgram, exported_program
from torch.export.graph_signature import ExportGraphSignature, InputKind, OutputKind
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta

#: torch.ops.aten.x.y -> its decomposition.
Table = Mapping[Any, Callable[..., Any]]

_NAMES = """
    _adaptive_avg_pool2d _to_copy add addmm arange cat clone constant_pad_nd conv2d convolution div
    hardtanh index max_pool2d max_pool2d_with_indices mean mm mul permute relu sigmoid split_with_sizes
    sqrt sub unsqueeze view
"""

#: ATen operators whose graphs are the same after retracing. Not among them: resampling, which litert-torch
#: keeps whole between markers, and operators that draw random numbers or write to their inputs.
ALLOWED = frozenset(_NAMES.split())


class CannotRetrace(Exception):
    """The graph has to be decomposed by torch."""


@contextmanager
def fast_decompositions() -> Iterator[None]:
    """Patch `ExportedProgram.run_decompositions` to retrace where possible, inside the context.

    The programs must have been decomposed once, so that they are functional.
    """
    original = ExportedProgram.run_decompositions

    def run_decompositions(
        program: ExportedProgram, decomp_table: Table | None = None, **options: Any
    ) -> ExportedProgram:
        if decomp_table is None or options:
            return original(program, decomp_table, **options)
        try:
            return retrace(program, decomp_table)
        except Exception:  # noqa: BLE001  (torch's decomposition decides whether it is an error)
            return original(program, decomp_table)

    with mock.patch.object(ExportedProgram, "run_decompositions", run_decompositions):
        yield


def retrace(program: ExportedProgram, table: Table) -> ExportedProgram:
    """Return `program`, whose graph is functional, with the operators in `table` decomposed.

    Raises:
        CannotRetrace: an operator is not in `ALLOWED`, or the program has inputs or outputs other than
            tensors, parameters and buffers.
        Exception: tracing fails, or its result is no valid program; there is no base class.
    """
    _require_plain(program.graph_signature)
    _require_allowed(program.graph)
    traced = traced_again(program, table, torch.fx.Interpreter(program.graph_module))
    _require_allowed(traced.graph)
    return traced


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

    # Composite operators that are not in the table are kept.
    composite, plain = exported_program._split_decomp_table_to_cia_and_python_decomp(dict(table))
    with (
        torch.no_grad(),
        preserve_node_meta(),
        torch._guards.detect_fake_mode(fakes),
        exported_program._override_composite_implicit_decomp(composite),
    ):
        traced = make_fx(run, decomposition_table=plain)(*fakes)
    _keep_inputs(inputs, traced.graph)
    signature = _signature(program.graph_signature, traced.graph)
    constants = _lifted_constants(traced, signature)
    traced.recompile()
    # Verifies the graph: one that is not functional raises.
    return program._update(traced, signature, constants={**program.constants, **constants})


def _require_plain(signature: ExportGraphSignature) -> None:
    kinds = {spec.kind for spec in (*signature.input_specs, *signature.output_specs)}
    plain = {InputKind.USER_INPUT, InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}
    if unknown := kinds - plain - {OutputKind.USER_OUTPUT}:
        raise CannotRetrace(f"inputs or outputs of kinds {unknown}")


def _require_allowed(graph: torch.fx.Graph) -> None:
    for node in graph.nodes:
        if node.op not in ("placeholder", "output", "call_function"):
            raise CannotRetrace(f"{node.name} is a {node.op}")
        operator = node.target
        # Python functions are rewrites of litert-torch; their operators appear in the traced graph.
        if isinstance(operator, torch._ops.OperatorBase) and not is_allowed(operator):
            raise CannotRetrace(f"{operator} is not among the operators that are retraced")


def is_allowed(operator: Any) -> bool:
    """Return whether a graph with `operator` is the same after retracing."""
    return (
        isinstance(operator, torch._ops.OpOverload)
        and operator.namespace == "aten"
        and operator._schema.name.removeprefix("aten::") in ALLOWED
    )


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


def _signature(old: ExportGraphSignature, graph: torch.fx.Graph) -> ExportGraphSignature:
    """Return the old signature with the names of the traced graph's outputs."""
    output = graph.output_node()
    results = output.args[0] if isinstance(output.args[0], tuple | list) else (output.args[0],)
    output.args = (tuple(results),)
    specs = [
        dataclasses.replace(spec, arg=dataclasses.replace(spec.arg, name=result.name))
        for spec, result in zip(old.output_specs, results, strict=True)
    ]
    return ExportGraphSignature(input_specs=[*old.input_specs], output_specs=specs)
