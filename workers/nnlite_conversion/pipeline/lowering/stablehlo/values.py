"""What the functions of operators are made of: their registry, types, constants and broadcasting."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_converter.mlir.ir import Value

#: ATen operator -> its function.
FUNCTIONS: dict[torch._ops.OpOverload, Callable[..., Any]] = {}


class NotCovered(Exception):
    """The arguments are such that litert-torch has to lower the operator."""


def lowers(*operators: torch._ops.OpOverload) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the lowering of operators."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(operators, function))
        return function

    return register


def require(condition: bool) -> None:
    """Leave the operator to litert-torch unless `condition` holds."""
    if not condition:
        raise NotCovered


def shape_of(x: Value) -> list[int]:
    """Return the known sizes of a tensor, none of them zero."""
    require(x.type.has_static_shape)
    shape = list(x.type.shape)
    require(all(shape))
    return shape


def require_floats(*values: Value) -> None:
    """Leave the operator to litert-torch unless these are tensors of 32-bit floats."""
    for value in values:
        require(isinstance(value, Value) and isinstance(value.type.element_type, ir.F32Type))


def tensor(shape: Sequence[int], element: ir.Type) -> ir.Type:
    """Return the type of a tensor."""
    return ir.RankedTensorType.get(list(shape), element)


def constant(value: float, element: ir.Type | None = None, shape: Sequence[int] = ()) -> Value:
    """Return a constant with one value in all places; of 32-bit floats by default."""
    element = element or ir.F32Type.get()
    kind = ir.FloatAttr if isinstance(element, ir.FloatType) else ir.IntegerAttr
    splat = ir.DenseElementsAttr.get_splat(tensor(shape, element), kind.get(element, value))
    return stablehlo.constant(splat)


def broadcast(x: Value, shape: Sequence[int], dimensions: Sequence[int] | None = None) -> Value:
    """Broadcast to `shape`; by default as NumPy does."""
    if dimensions is None:
        dimensions = range(len(shape) - len(x.type.shape), len(shape))
    return stablehlo.broadcast_in_dim(tensor(shape, x.type.element_type), x, list(dimensions))


def broadcast_to(x: Value, shape: Sequence[int]) -> Value:
    """Broadcast as NumPy does, a tensor of another shape only."""
    return x if shape_of(x) == list(shape) else broadcast(x, shape)


def filled(value: Value, shape: Sequence[int]) -> Value:
    """Return a tensor with a scalar in all places."""
    return broadcast(value, shape, ()) if shape else value


def axes_of(dim: Any, rank: int) -> list[int]:
    """Return one or several dimensions, counted from the front."""
    dims = [dim] if isinstance(dim, int) else list(dim)
    axes = [each + rank if each < 0 else each for each in dims]
    require(len(set(axes)) == len(axes) and all(0 <= each < rank for each in axes))
    return axes


def converted_to(x: Value, element: ir.Type) -> Value:
    """Return a tensor with elements of another type, or `x` itself."""
    return x if x.type.element_type == element else stablehlo.convert(tensor(shape_of(x), element), x)


def compared(x: Value, y: Value, direction: str) -> Value:
    """Return where floats or integers compare as `direction` says: GT, GE, LT, LE, EQ or NE."""
    kind = "FLOAT" if isinstance(x.type.element_type, ir.FloatType) else "SIGNED"
    return stablehlo.compare(
        x,
        y,
        stablehlo.ComparisonDirectionAttr.get(direction),
        compare_type=stablehlo.ComparisonTypeAttr.get(kind),
    )
