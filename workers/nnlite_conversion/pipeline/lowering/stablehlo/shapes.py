"""Operators that rearrange or pick the elements of a tensor of any type, and make the indices to pick by."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_converter.mlir.ir import Value

from nnlite_conversion.pipeline.lowering.stablehlo.values import (
    axes_of,
    broadcast,
    broadcast_to,
    compared,
    constant,
    filled,
    lowers,
    require,
    shape_of,
    tensor,
)

aten = torch.ops.aten


@lowers(aten.view.default, aten._unsafe_view.default, aten.reshape.default)
def _view(x: Value, shape: Sequence[int]) -> Value:
    old = shape_of(x)
    require(all(isinstance(size, int) for size in shape))
    known = math.prod(size for size in shape if size != -1)
    require(known > 0)
    return _reshaped(x, [math.prod(old) // known if size == -1 else size for size in shape])


def _reshaped(x: Value, shape: Sequence[int]) -> Value:
    if shape_of(x) == list(shape):
        return x
    return stablehlo.reshape(tensor(shape, x.type.element_type), x)


@lowers(aten.permute.default)
def _permute(x: Value, dims: Sequence[int]) -> Value:
    axes = axes_of(dims, len(shape_of(x)))
    return x if axes == sorted(axes) else stablehlo.transpose(x, axes)


@lowers(aten.clone.default)
def _clone(x: Value, *, memory_format: Any = None) -> Value:
    del memory_format
    return x


@lowers(aten.expand.default)
def _expand(x: Value, sizes: Sequence[int], *, implicit: bool = False) -> Value:
    require(not implicit and all(isinstance(size, int) for size in sizes))
    own = shape_of(x)
    padded = [1] * (len(sizes) - len(own)) + own
    shape = [old if size == -1 else size for size, old in zip(sizes, padded, strict=True)]
    return x if shape == own else broadcast(x, shape)


@lowers(aten.unsqueeze.default)
def _unsqueeze(x: Value, dim: int) -> Value:
    shape = shape_of(x)
    (axis,) = axes_of(dim, len(shape) + 1)
    shape.insert(axis, 1)
    return broadcast(x, shape, [each for each in range(len(shape)) if each != axis])


@lowers(aten.squeeze.dim, aten.squeeze.dims)
def _squeeze(x: Value, dim: Any) -> Value:
    shape = shape_of(x)
    axes = axes_of(dim, len(shape))
    return _reshaped(x, [size for axis, size in enumerate(shape) if axis not in axes or size != 1])


@lowers(aten.slice.Tensor)
def _slice(x: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    shape = shape_of(x)
    require(all(each is None or type(each) is int for each in (start, end)) and type(step) is int)
    (axis,) = axes_of(dim, len(shape))
    start, end, step = slice(start, end, step).indices(shape[axis])
    require(start < end)
    return x if (start, end, step) == (0, shape[axis], 1) else _cut(x, axis, start, end, step)


def _cut(x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    shape = shape_of(x)
    starts, stops, steps = [0] * len(shape), [*shape], [1] * len(shape)
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return stablehlo.slice(x, starts, stops, steps)


@lowers(aten.select.int)
def _select(x: Value, dim: int, index: int) -> Value:
    shape = shape_of(x)
    require(type(index) is int)
    (axis,) = axes_of(dim, len(shape))
    index = index + shape[axis] if index < 0 else index
    require(0 <= index < shape[axis])
    part = _cut(x, axis, index, index + 1)
    return _reshaped(part, [*shape[:axis], *shape[axis + 1 :]])


@lowers(aten.arange.start_step)
def _arange(start: Any, end: Any, step: Any = 1, *, dtype: torch.dtype | None = None, **_: Any) -> Value:
    require(all(type(each) is int for each in (start, end, step)) and dtype is torch.int64)
    require(start == 0 and end > 0 and step == 1)
    return stablehlo.iota(tensor([end], ir.IntegerType.get_signless(64)), 0)


@lowers(aten.scalar_tensor.default)
def _scalar_tensor(value: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Value:
    if dtype is torch.float32:
        require(type(value) in (int, float))
        return constant(value)
    require(type(value) is int and dtype is torch.int64)
    return constant(value, ir.IntegerType.get_signless(64))


@lowers(aten.index.Tensor)
def _index(x: Value, indices: Sequence[Value | None]) -> Value:
    shape = shape_of(x)
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    # Of the last dimensions, and of more than one: jax reads along one in another way.
    require(len(indices) == len(shape) and len(axes) > 1 and axes == [*range(axes[0], len(shape))])
    element = ir.IntegerType.get_signless(32)
    # Each once, and the first one last, as they come out of jax.
    numbers = dict.fromkeys([0, *(shape[axis] for axis in axes)])
    constants = {number: constant(number, element) for number in reversed(numbers)}
    places = [_from_the_front(indices[axis], constants[0], constants[shape[axis]]) for axis in axes]
    common = list(np.broadcast_shapes(*(tuple(shape_of(each)) for each in places)))
    places = [broadcast_to(each, common) for each in places]
    places = [broadcast(each, [*common, 1], range(len(common))) for each in places]
    dimensions = stablehlo.GatherDimensionNumbers.get(
        offset_dims=[*range(axes[0])],
        collapsed_slice_dims=axes,
        operand_batching_dims=[],
        start_indices_batching_dims=[],
        start_index_map=axes,
        index_vector_dim=len(common),
    )
    sizes = [1 if axis in axes else size for axis, size in enumerate(shape)]
    return stablehlo.gather(x, stablehlo.concatenate(places, len(common)), dimensions, sizes)


def _from_the_front(index: Value | None, zero: Value, size: Value) -> Value:
    """Return indices, which count from the end where they are negative, as those from the front."""
    require(isinstance(index, Value) and index.type.element_type == zero.type.element_type)
    shape = shape_of(index)
    require(bool(shape))
    negative = compared(index, filled(zero, shape), "LT")
    return stablehlo.select(negative, stablehlo.add(index, filled(size, shape)), index)
