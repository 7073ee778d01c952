"""Lowers common operators to StableHLO directly, where litert-torch has jax do it.

litert-torch lowers most operators by jax: for each signature it traces a function, prints its MLIR, parses it
and copies it into the module, which is most of what happens between decomposition and the converter's own
passes. Here the same function is built at once, operation by operation, so that the converter gets the same
module but for the functions' names. A signature that is not covered is left to litert-torch.
"""

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest import mock

import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import func, stablehlo
from litert_torch.backend import export_utils
from litert_torch.backend.lowerings import context, registry
from torch.fx.node import map_aggregate

from nnlite_conversion.pipeline.lowering.aten_operators import aten_name
from nnlite_conversion.pipeline.lowering.signatures import key_of
from nnlite_conversion.pipeline.lowering.stablehlo import FUNCTIONS, NotCovered

_logger = logging.getLogger(__name__)

#: Lowers a node: takes litert-torch's context and the node's arguments, with MLIR values for tensors.
Lowering = Callable[..., Any]


@contextmanager
def direct_lowerings() -> Iterator[None]:
    """Lower the operators of `FUNCTIONS` directly inside the context."""
    known = registry.global_registry.registered_ops
    direct = {
        operator: _lowering(aten_name(operator), function, known[operator])
        for operator, function in FUNCTIONS.items()
        if operator in known
    }
    with mock.patch.dict(known, direct):
        yield


@dataclass(frozen=True, slots=True)
class _Function:
    """A function of the module, as its callers need it."""

    name: str
    results: tuple[ir.Type, ...]


@dataclass
class _Functions(context.LoweringContextPlugin):  # type: ignore[misc]
    """The functions of one module by signature; None: litert-torch lowers the signature."""

    known: dict[Hashable, _Function | None] = field(default_factory=dict)


def _lowering(operator: str, function: Callable[..., Any], of_library: Lowering) -> Lowering:
    """Return a lowering by `function`, which leaves what that does not cover to the library."""

    def lowering(lctx: context.LoweringContext, *args: Any, **kwargs: Any) -> Any:
        inputs: list[ir.Value] = []

        def type_of(value: ir.Value) -> Hashable:
            inputs.append(value)
            kind: Hashable = value.type
            return kind

        def body(parameters: Iterator[ir.Value]) -> Any:
            own_args, own_kwargs = map_aggregate(
                (args, kwargs), lambda each: next(parameters) if isinstance(each, ir.Value) else each
            )
            return function(*own_args, **own_kwargs)

        signature = (function, key_of((args, kwargs), ir.Value, type_of))
        if not lctx.has_plugin(_Functions):
            lctx.add_plugin(_Functions())
        known = lctx.get_plugin(_Functions).known
        if signature not in known:
            known[signature] = _built(lctx.ir_module, f"{operator}_{len(known)}", inputs, body)
        built = known[signature]
        if built is None:
            return of_library(lctx, *args, **kwargs)
        results = func.CallOp(built.results, ir.FlatSymbolRefAttr.get(built.name), inputs).results
        return _of_types(results, lctx.node)

    return lowering


def _built(
    module: ir.Module, name: str, inputs: Sequence[ir.Value], body: Callable[[Iterator[ir.Value]], Any]
) -> _Function | None:
    """Add a function to the module, in front as litert-torch does; None: the signature is not covered.

    Args:
        inputs: its arguments.
        body: returns the results, one or several; takes the function's parameters.
    """
    types = [each.type for each in inputs]
    with ir.Location.unknown(), ir.InsertionPoint.at_block_begin(module.body):
        operation = func.FuncOp(name, ir.FunctionType.get(types, []), visibility="private")
    block = operation.add_entry_block()
    try:
        with ir.Location.unknown(), ir.InsertionPoint(block):
            built = body(iter(block.arguments))
            results = list(built) if isinstance(built, tuple | list) else [built]
            func.ReturnOp(results)
    except NotCovered:
        operation.erase()
        return None
    except Exception:  # noqa: BLE001  (MLIR's errors have no base class, and the library may lower it)
        _log_once(name.rpartition("_")[0])
        operation.erase()
        return None
    result_types = tuple(result.type for result in results)
    operation.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(types, result_types))
    return _Function(name, result_types)


@cache
def _log_once(operator: str) -> None:
    """Log the error that is being handled, the first one of each operator in this process."""
    _logger.warning("the direct lowering of %s failed; litert-torch lowers it", operator, exc_info=True)


def _of_types(results: Sequence[ir.Value], node: torch.fx.Node | None) -> Any:
    """Return the results, converted to the types of the node where they have others."""
    types = node and (node.meta.get("tensor_meta") or node.meta.get("val"))
    if len(results) == 1:
        return _of_type(results[0], types)
    return [_of_type(result, of) for result, of in zip(results, types or [None] * len(results), strict=False)]


def _of_type(result: ir.Value, of: Any) -> ir.Value:
    if of is None:
        return result
    element = export_utils.torch_dtype_to_ir_element_type(of.dtype)
    if result.type.element_type == element:
        return result
    return stablehlo.convert(ir.RankedTensorType.get(result.type.shape, element), result)
