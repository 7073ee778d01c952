"""Operators that reduce dimensions or windows of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_converter.mlir.ir import Value

from nnlite_conversion.pipeline.lowering.stablehlo.values import (
    FUNCTIONS,
    axes_of,
    broadcast,
    broadcast_to,
    constant,
    filled,
    lowers,
    require,
    require_floats,
    shape_of,
    tensor,
)

aten = torch.ops.aten
#: What is done with two tensors.
Operation = Callable[[Value, Value], Value]


def _reduced(x: Value, start: Value, operation: Operation, axes: Sequence[int]) -> Value:
    shape = [size for axis, size in enumerate(shape_of(x)) if axis not in axes]
    reduction = stablehlo.ReduceOp([tensor(shape, ir.F32Type.get())], [x], [start], list(axes))
    _fill(reduction, operation)
    return reduction.results[0]


def _fill(reduction: Any, operation: Operation) -> None:
    """Set what a reduction does with two scalars."""
    scalar = tensor((), ir.F32Type.get())
    block = reduction.regions[0].blocks.append(scalar, scalar)
    with ir.InsertionPoint(block):
        stablehlo.return_([operation(*block.arguments)])


def _kept(reduced: Value, shape: Sequence[int], axes: Sequence[int]) -> Value:
    """Return a reduced tensor with its axes as dimensions of one."""
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    return broadcast(reduced, [1 if axis in axes else size for axis, size in enumerate(shape)], kept)


@lowers(aten.mean.dim)
def _mean(x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    require_floats(x)
    shape = shape_of(x)
    require(bool(dim) and bool(shape))
    axes = axes_of(dim, len(shape))
    count, zero = constant(math.prod(shape[axis] for axis in axes)), constant(0)
    total = _reduced(x, zero, stablehlo.add, axes)
    if keepdim:
        total = _kept(total, shape, axes)
    require(bool(total.type.shape))
    return stablehlo.divide(total, filled(count, shape_of(total)))


def _reducing(operation: Operation, start: float) -> Callable[..., Value]:
    def reduction(x: Value, dim: Any = None, keepdim: bool = False) -> Value:
        require_floats(x)
        shape = shape_of(x)
        require(bool(shape) and dim is not None and dim != [])
        axes = axes_of(dim, len(shape))
        reduced = _reduced(x, constant(start), operation, axes)
        return _kept(reduced, shape, axes) if keepdim else reduced

    return reduction


FUNCTIONS[aten.sum.dim_IntList] = _reducing(stablehlo.add, 0)
FUNCTIONS[aten.amax.default] = _reducing(stablehlo.maximum, -math.inf)
FUNCTIONS[aten.amin.default] = _reducing(stablehlo.minimum, math.inf)


@lowers(aten._softmax.default)
def _softmax(x: Value, dim: int, half_to_float: bool = False) -> Value:
    require_floats(x)
    shape = shape_of(x)
    require(bool(shape) and not half_to_float)
    axes = axes_of(dim, len(shape))
    zero, lowest = constant(0), constant(-math.inf)
    exponentials = stablehlo.exponential(_below_highest(x, lowest, axes))
    total = _kept(_reduced(exponentials, zero, stablehlo.add, axes), shape, axes)
    return stablehlo.divide(exponentials, broadcast_to(total, shape))


def _below_highest(x: Value, lowest: Value, axes: Sequence[int]) -> Value:
    shape = shape_of(x)
    highest = _reduced(x, lowest, stablehlo.maximum, axes)
    highest = stablehlo.maximum(filled(lowest, highest.type.shape), highest)
    return stablehlo.subtract(x, broadcast_to(_kept(highest, shape, axes), shape))


def _windows(
    x: Value,
    start: Value,
    operation: Operation,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Value:
    """Reduce windows of the last dimensions."""
    shape = shape_of(x)
    leading = len(shape) - len(kernel)
    extents = [step * (size - 1) + 1 for size, step in zip(kernel, dilation, strict=True)]
    sizes = [
        (size + sum(pads) - extent) // stride + 1
        for size, pads, extent, stride in zip(shape[leading:], padding, extents, strides, strict=True)
    ]
    pads = [(0, 0)] * leading + list(padding)
    ones = [1] * leading
    result = tensor(shape[:leading] + sizes, ir.F32Type.get())
    reduction = stablehlo.ReduceWindowOp(
        [result],
        [x],
        [start],
        ones + list(kernel),
        window_strides=ones + list(strides) if set(strides) != {1} else None,
        window_dilations=ones + list(dilation) if set(dilation) != {1} else None,
        padding=ir.DenseElementsAttr.get(np.array(pads, np.int64)) if any(map(any, pads)) else None,
    )
    _fill(reduction, operation)
    return reduction.results[0]


def _pair(value: Any) -> list[int]:
    values = [value] * 2 if isinstance(value, int) else list(value)
    require(len(values) == 2 and all(type(each) is int for each in values))
    return values


def _pads(
    shape: Sequence[int],
    padding: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    *,
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[tuple[int, int]]:
    """Return what is added before and after each dimension; more after it where sizes are rounded up."""
    pads = []
    for size, pad, width, stride, step in zip(shape, padding, kernel, strides, dilation, strict=True):
        span = size + 2 * pad - (width - 1) * step - 1
        after = pad
        if ceil_mode and (rest := span % stride):
            extra = stride - rest
            if ((span + extra + stride - 1) // stride) * stride < size + pad:
                after += extra
        pads.append((pad, after))
    return pads


@lowers(aten.max_pool2d_with_indices.default)
def _max_pool(  # noqa: PLR0917  (ATen's arguments)
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> list[Value]:
    require_floats(x)
    shape = shape_of(x)
    require(len(shape) == 4)
    kernel = _pair(kernel_size)
    strides = _pair(stride) if stride else kernel
    steps = _pair(dilation or 1)
    pads = _pads(shape[2:], _pair(padding or 0), kernel, strides, dilation=steps, ceil_mode=ceil_mode)
    wide = ir.IntegerType.get_signless(64)
    zero, lowest = constant(0, wide), constant(-math.inf)
    highest = _windows(
        x, lowest, stablehlo.maximum, kernel=kernel, strides=strides, padding=pads, dilation=steps
    )
    # The indices are not computed; nothing reads them.
    return [highest, filled(zero, shape_of(highest))]


@lowers(aten.avg_pool2d.default)
def _avg_pool(  # noqa: PLR0917  (ATen's arguments)
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Value:
    require_floats(x)
    shape = shape_of(x)
    require(len(shape) == 4 and divisor_override is None)
    kernel = _pair(kernel_size)
    strides = _pair(stride) if stride else kernel
    pads = _pads(shape[2:], _pair(padding or 0), kernel, strides, dilation=[1, 1], ceil_mode=ceil_mode)

    def summed(of: Value, start: Value) -> Value:
        return _windows(
            of, start, stablehlo.add, kernel=kernel, strides=strides, padding=pads, dilation=[1, 1]
        )

    if count_include_pad:
        # Where more is added after a dimension than before it, jax changes divisors one by one.
        require(all(before == after for before, after in pads))
        count, one, zero = constant(math.prod(kernel)), constant(1), constant(0)
        total = summed(x, broadcast(zero, (), ()))
        sizes = shape_of(total)
        return stablehlo.divide(total, stablehlo.multiply(filled(one, sizes), filled(count, sizes)))
    one, zero = constant(1), constant(0)
    total = summed(x, broadcast(zero, (), ()))
    counts = summed(filled(one, [1, 1, *shape[2:]]), zero)
    return stablehlo.divide(total, broadcast_to(counts, shape_of(total)))
