"""Operators that work element by element, of one tensor or several."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_converter.mlir.ir import Value

from nnlite_conversion.pipeline.lowering.stablehlo.values import (
    FUNCTIONS,
    broadcast,
    broadcast_to,
    compared,
    constant,
    converted_to,
    filled,
    lowers,
    require,
    require_floats,
    shape_of,
    tensor,
)

aten = torch.ops.aten
_NUMBERS = (ir.F32Type, ir.IntegerType)


def _unary(operation: Callable[[Value], Value]) -> Callable[[Value], Value]:
    def function(x: Value) -> Value:
        require_floats(x)
        shape_of(x)
        return operation(x)

    return function


for _operator, _operation in {
    aten.tanh: stablehlo.tanh,
    aten.exp: stablehlo.exponential,
    aten.log: stablehlo.log,
    aten.log1p: stablehlo.log_plus_one,
    aten.sqrt: stablehlo.sqrt,
    aten.rsqrt: stablehlo.rsqrt,
    aten.sin: stablehlo.sine,
    aten.cos: stablehlo.cosine,
}.items():
    FUNCTIONS[_operator.default] = _unary(_operation)


@lowers(aten.relu.default)
def _relu(x: Value) -> Value:
    require_floats(x)
    zero = constant(0)
    return stablehlo.maximum(x, filled(zero, shape_of(x)))


@lowers(aten.sigmoid.default)
def _sigmoid(x: Value) -> Value:
    require_floats(x)
    return _logistic(x, constant(1))


def _logistic(x: Value, one: Value) -> Value:
    shape = shape_of(x)
    exponential = stablehlo.exponential(stablehlo.negate(x))
    divisor = stablehlo.add(filled(one, shape), exponential)
    return stablehlo.divide(filled(one, shape), divisor)


@lowers(aten.silu.default)
def _silu(x: Value) -> Value:
    require_floats(x)
    return stablehlo.multiply(x, _logistic(x, constant(1)))


@lowers(aten.hardtanh.default)
def _hardtanh(x: Value, low: Any = -1, high: Any = 1) -> Value:
    return _clamp(x, low, high)


@lowers(aten.clamp.default)
def _clamp(x: Value, low: Any = None, high: Any = None) -> Value:
    require_floats(x)
    shape = shape_of(x)
    bounds = [None if each is None else constant(each, *_of_python(each)) for each in (low, high)]
    for operation, bound in zip((stablehlo.maximum, stablehlo.minimum), bounds, strict=True):
        if bound is not None:
            converted = stablehlo.convert(tensor((), ir.F32Type.get()), bound)
            x = operation(filled(converted, shape), x)
    return x


def _of_python(number: Any) -> tuple[ir.Type]:
    """Return the type that jax gives a number of Python."""
    require(type(number) in (int, float))
    return (ir.F64Type.get() if isinstance(number, float) else ir.IntegerType.get_signless(64),)


@lowers(aten.leaky_relu.default)
def _leaky_relu(x: Value, slope: Any = 0.01) -> Value:
    require_floats(x)
    shape = shape_of(x)
    factor = constant(slope, *_of_python(slope))
    positive = compared(x, filled(constant(0), shape), "GE")
    factor = stablehlo.convert(tensor((), ir.F32Type.get()), factor)
    return stablehlo.select(positive, x, stablehlo.multiply(filled(factor, shape), x))


@lowers(aten.elu.default)
def _elu(x: Value, alpha: Any = 1.0, scale: Any = 1.0, input_scale: Any = 1.0) -> Value:
    require_floats(x)
    # Other factors give other constants, in another order.
    require((alpha, scale, input_scale) == (1, 1, 1))
    shape = shape_of(x)
    zero, one = constant(0), constant(1)
    above = stablehlo.multiply(x, filled(one, shape))
    below = stablehlo.exponential_minus_one(stablehlo.multiply(x, filled(one, shape)))
    below = stablehlo.multiply(below, filled(one, shape))
    return stablehlo.select(compared(x, filled(zero, shape), "GE"), above, below)


def _together(*values: Value) -> list[Value]:
    """Convert tensors to one type and broadcast them as jax does: ranks first."""
    converted = _of_one_type(values)
    shapes = [shape_of(value) for value in converted]
    rank = max(map(len, shapes))
    if len({len(shape) for shape in shapes if shape}) > 1:
        converted = [_of_rank(value, rank) for value in converted]
    shape = list(np.broadcast_shapes(*map(tuple, shapes)))
    return [broadcast_to(value, shape) for value in converted]


def _of_one_type(values: Sequence[Value]) -> list[Value]:
    """Convert 32-bit integers next to floats to these, and next to 64-bit integers to those."""
    require(all(isinstance(value, Value) for value in values))
    narrow, wide = ir.IntegerType.get_signless(32), ir.IntegerType.get_signless(64)
    elements = [value.type.element_type for value in values]
    floats = any(isinstance(element, ir.F32Type) for element in elements)
    common = ir.F32Type.get() if floats else wide if wide in elements else narrow
    require(all(element in (narrow, common) for element in elements))
    return [converted_to(value, common) for value in values]


def _of_rank(value: Value, rank: int) -> Value:
    shape = shape_of(value)
    missing = rank - len(shape)
    return broadcast(value, [1] * missing + shape) if missing else value


def _binary(
    operation: Callable[[Value, Value], Value], kinds: tuple[type[ir.Type], ...] = _NUMBERS
) -> Callable[..., Value]:
    def of_tensors(x: Value, y: Value, *, alpha: int = 1) -> Value:
        require(alpha == 1)
        values = _together(x, y)
        require(isinstance(values[0].type.element_type, kinds))
        return operation(*values)

    return of_tensors


def _binary_scalar(operation: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    def of_scalar(x: Value, y: Any, *, alpha: int = 1) -> Value:
        require(alpha == 1 and type(y) in (int, float))
        require_floats(x)
        return operation(x, filled(constant(y), shape_of(x)))

    return of_scalar


for _name, _of_two in {
    "add": stablehlo.add,
    "sub": stablehlo.subtract,
    "mul": stablehlo.multiply,
    "div": stablehlo.divide,
}.items():
    # Of two integers, jax's quotient is of floats.
    FUNCTIONS[getattr(aten, _name).Tensor] = _binary(_of_two, (ir.F32Type,) if _name == "div" else _NUMBERS)
    FUNCTIONS[getattr(aten, _name).Scalar] = _binary_scalar(_of_two)
for _name in ("maximum", "minimum"):
    FUNCTIONS[getattr(aten, _name).default] = _binary(getattr(stablehlo, _name))


def _comparing(direction: str) -> Callable[[Value, Value], Value]:
    return lambda x, y: compared(x, y, direction)


for _name in ("gt", "ge", "lt", "le", "eq", "ne"):
    FUNCTIONS[getattr(aten, _name).Tensor] = _binary(_comparing(_name.upper()))
    FUNCTIONS[getattr(aten, _name).Scalar] = _binary_scalar(_comparing(_name.upper()))


@lowers(aten.div.Tensor_mode)
def _rounded_quotient(x: Value, y: Value, *, rounding_mode: str | None = None) -> Value:
    require(rounding_mode == "trunc")
    zero, element = constant(0), ir.F32Type.get()
    quotient = stablehlo.divide(*_together(*(converted_to(value, element) for value in _of_one_type((x, y)))))
    negative = compared(quotient, filled(zero, shape_of(quotient)), "LT")
    return stablehlo.select(negative, stablehlo.ceil(quotient), stablehlo.floor(quotient))


@lowers(aten.where.self)
def _where(condition: Value, x: Value, y: Value) -> Value:
    require_floats(x, y)
    require(condition.type.element_type == ir.IntegerType.get_signless(1) and bool(shape_of(condition)))
    values = condition, x, y
    shape = list(np.broadcast_shapes(*(tuple(shape_of(value)) for value in values)))
    return stablehlo.select(*(broadcast_to(value, shape) for value in values))


@lowers(aten.mm.default)
def _mm(x: Value, y: Value) -> Value:
    return _product(x, y, batches=0)


@lowers(aten.bmm.default)
def _bmm(x: Value, y: Value) -> Value:
    return _product(x, y, batches=1)


def _product(x: Value, y: Value, *, batches: int) -> Value:
    require_floats(x, y)
    left, right = shape_of(x), shape_of(y)
    # jax squeezes batches of one.
    require(all(size > 1 for size in left[:batches]))
    dimensions = stablehlo.DotDimensionNumbers.get(
        lhs_batching_dimensions=list(range(batches)),
        rhs_batching_dimensions=list(range(batches)),
        lhs_contracting_dimensions=[batches + 1],
        rhs_contracting_dimensions=[batches],
    )
    return stablehlo.dot_general(tensor([*left[:-1], right[-1]], ir.F32Type.get()), x, y, dimensions)
