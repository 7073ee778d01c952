"""Rewrites of single operators: functions that compute what an operator computes, from others.

Such a rewrite has the parameters of the operator that it replaces and returns the same tensors, or
`NotImplemented` where the converter lowers the call as it is. It sees the graph after decomposition, in which
operators have no variants that work in place. A graph is traced again only if a rewrite applies to it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves, tree_map

from nnlite_conversion.pipeline.lowering.decomposition_tables import Table
from nnlite_conversion.pipeline.lowering.retracing import traced_again
from nnlite_conversion.pipeline.lowering.rewrites import complex_numbers
from nnlite_conversion.pipeline.lowering.rewrites.complex_numbers import Complex

OperatorRewrite = Callable[..., Any]
#: The operators that a package rewrites, such as `{torch.ops.aten.silu.default: silu_as_product}`.
OperatorRewrites = Mapping[Any, OperatorRewrite]

#: Types that are computed in single precision instead.
HALVES = (torch.bfloat16, torch.float16)
_OTHERS = (*HALVES, torch.float64)
#: Operators that the converter narrows to single precision itself; it refuses the others in double precision.
_NARROWED = """
    add sub mul div where masked_fill full full_like arange scalar_tensor zeros zeros_like ones ones_like view
    _unsafe_view reshape unsqueeze squeeze expand clone alias detach lift_fresh_copy to _to_copy
"""
_NARROWING = frozenset(f"aten::{name}" for name in _NARROWED.split())
#: Types of which the converter takes no constants, and those that hold the same integers.
_UNSIGNED = {
    torch.uint8: torch.int32,
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}
_COMPLEX = (torch.complex32, torch.complex64, torch.complex128)


def rewrite_operators(
    program: ExportedProgram, rewrites: OperatorRewrites, table: Table
) -> tuple[ExportedProgram, tuple[str, ...]]:
    """Return the decomposed `program` with rewritten operators, and the names of the rewrites that applied.

    Args:
        rewrites: by operator.
        table: the decompositions that the program was made with.

    Raises:
        complex_numbers.NotReal: it computes something with complex numbers that has no rewrite.
        Exception: a rewrite fails; there is no base class.
    """
    types = _types(program)
    other_floats = bool(types.intersection(HALVES)) or _computes_in_doubles(program)
    weights = {node.name: store[name].dtype for node, store, name in _weights(program)}
    unsigned = {name: dtype for name, dtype in weights.items() if dtype in _UNSIGNED}
    if not (other_floats or types.intersection(_COMPLEX) or unsigned or _any_applies(program, rewrites)):
        return program, ()
    rewriter = _Rewriter(program.graph_module, rewrites, unsigned)
    rewritten = traced_again(_with_supported_weights(program), table, rewriter)
    names = [*rewriter.applied]
    names += [single_precision.__name__] if other_floats else []
    names += [signed_weights.__name__] if unsigned else []
    names += [complex_numbers.__name__.rpartition(".")[2]] if types.intersection(_COMPLEX) else []
    return rewritten, tuple(dict.fromkeys(names))


def single_precision(value: Any) -> Any:
    """Return a tensor or a type of other precision in single precision, everything else as it is."""
    if isinstance(value, torch.Tensor) and value.dtype in _OTHERS:
        return value.to(torch.float32)
    return torch.float32 if isinstance(value, torch.dtype) and value in _OTHERS else value


def signed_weights(value: torch.Tensor) -> torch.Tensor:
    """Return weights that are unsigned integers as signed ones."""
    return value.detach().to(_UNSIGNED[value.dtype])


class _Rewriter(torch.fx.Interpreter):  # type: ignore[misc]
    """Runs a graph with rewritten operators; complex numbers are pairs of tensors."""

    def __init__(
        self, module: torch.fx.GraphModule, rewrites: OperatorRewrites, unsigned: Mapping[str, torch.dtype]
    ) -> None:
        super().__init__(module)
        self.rewrites = rewrites
        #: Types that weights had which are signed now.
        self._unsigned = unsigned
        #: Names of the rewrites that applied.
        self.applied: dict[str, None] = {}
        inputs = module.graph.find_nodes(op="placeholder")
        self._complex_inputs = {node.name for node in inputs if _is_complex(node)}

    def run_node(self, node: torch.fx.Node) -> Any:
        result = super().run_node(node)
        if node.op == "placeholder":
            if node.name in self._complex_inputs:
                return Complex(result[..., 0], result[..., 1])
            # Of the others there are hardly operators, but those that change the type.
            if self._unsigned.get(node.name) is torch.uint8 and node.users:
                return result.to(torch.uint8)
            return single_precision(result)
        if node.op == "output":
            return tree_map(lambda value: value.stacked() if isinstance(value, Complex) else value, result)
        return result

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = tree_map(single_precision, (args, kwargs))
        if complex_numbers.concerns(target, args, kwargs):
            return complex_numbers.call(target, args, kwargs)
        if rewrite := self.rewrites.get(target):
            result = rewrite(*args, **kwargs)
            if result is not NotImplemented:
                self.applied[rewrite.__name__] = None
                return result
        return super().call_function(target, args, kwargs)


def _types(program: ExportedProgram) -> set[torch.dtype]:
    values = tree_leaves([node.meta.get("val") for node in program.graph.nodes])
    return {value.dtype for value in values if isinstance(value, torch.Tensor)}


def _computes_in_doubles(program: ExportedProgram) -> bool:
    """Whether the graph computes something in double precision that the converter refuses."""
    return any(
        isinstance(value, torch.Tensor) and value.dtype is torch.float64
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.name not in _NARROWING
        for each in (node, *node.all_input_nodes)
        for value in tree_leaves(each.meta.get("val"))
    )


def _is_complex(node: torch.fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_complex()


def _any_applies(program: ExportedProgram, rewrites: OperatorRewrites) -> bool:
    """Whether a rewrite applies to any node; they are tried on tensors without values."""
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target in rewrites:
            args, kwargs = map_arg((node.args, node.kwargs), lambda argument: argument.meta["val"])
            fake_mode = torch._guards.detect_fake_mode(tree_leaves((args, kwargs)))
            with fake_mode or nullcontext(), torch.no_grad():
                if rewrites[node.target](*args, **kwargs) is not NotImplemented:
                    return True
    return False


def _weights(program: ExportedProgram) -> Iterator[tuple[torch.fx.Node, dict[str, Any], str]]:
    """Yield the inputs of the graph that are weights or constants; the store of each, and its name there."""
    inputs = program.graph.find_nodes(op="placeholder")
    for node, spec in zip(inputs, program.graph_signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT or spec.target is None:
            continue
        for store in (program.state_dict, program.constants):
            if isinstance(store.get(spec.target), torch.Tensor):
                yield node, store, spec.target


def _with_supported_weights(program: ExportedProgram) -> ExportedProgram:
    """Store weights of other precision as floats, and complex ones as pairs of floats in a last dimension.

    Unsigned integers are stored as signed ones.
    """
    for node, store, name in _weights(program):
        value = store[name]
        if value.dtype in _OTHERS + _COMPLEX:
            real = torch.view_as_real(value.detach().resolve_conj()) if value.is_complex() else value.detach()
            real = real.to(torch.float32).contiguous()
        elif value.dtype in _UNSIGNED:
            real = signed_weights(value)
        else:
            continue
        is_parameter = isinstance(value, torch.nn.Parameter)
        store[name] = torch.nn.Parameter(real, requires_grad=False) if is_parameter else real
        node.meta["val"] = node.meta["val"].fake_mode.from_tensor(real, static_shapes=True)
    return program
