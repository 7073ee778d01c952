"""Operators that rearrange the elements of a tensor of any type."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from litert_converter.mlir.dialects import stablehlo
from litert_converter.mlir.ir import Value

from nnlite_conversion.pipeline.lowering.stablehlo.values import (
    axes_of,
    broadcast,
    constant,
    lowers,
    require,
    require_floats,
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


def _part(x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    shape = shape_of(x)
    require(start < stop)
    return x if (start, stop, step) == (0, shape[axis], 1) else _cut(x, axis, start, stop, step)


def _cut(x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    shape = shape_of(x)
    starts, stops, steps = [0] * len(shape), [*shape], [1] * len(shape)
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return stablehlo.slice(x, starts, stops, steps)


@lowers(aten.slice.Tensor)
def _slice(x: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    shape = shape_of(x)
    require(all(each is None or type(each) is int for each in (start, end)) and type(step) is int)
    (axis,) = axes_of(dim, len(shape))
    return _part(x, axis, *slice(start, end, step).indices(shape[axis]))


@lowers(aten.select.int)
def _select(x: Value, dim: int, index: int) -> Value:
    shape = shape_of(x)
    require(type(index) is int)
    (axis,) = axes_of(dim, len(shape))
    index = index + shape[axis] if index < 0 else index
    require(0 <= index < shape[axis])
    part = _cut(x, axis, index, index + 1)
    return _reshaped(part, [*shape[:axis], *shape[axis + 1 :]])


@lowers(aten.split_with_sizes.default)
def _split(x: Value, sizes: Sequence[int], dim: int = 0) -> list[Value]:
    (axis,) = axes_of(dim, len(shape_of(x)))
    ends = [int(end) for end in np.cumsum(sizes)]
    return [_part(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


@lowers(aten.constant_pad_nd.default)
def _constant_pad(x: Value, pad: Sequence[int], value: Any = 0) -> Value:
    require_floats(x)
    rank = len(shape_of(x))
    require(all(type(each) is int and each >= 0 for each in pad) and type(value) in (int, float))
    require(any(pad))
    before = [0] * (rank - len(pad) // 2)
    low, high = before + list(pad[-2::-2]), before + list(pad[-1::-2])
    return stablehlo.pad(x, constant(value), low, high, [0] * rank)
