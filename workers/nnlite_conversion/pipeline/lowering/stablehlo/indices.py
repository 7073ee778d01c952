"""Operators that make indices and read a tensor at indices, as adaptive pooling does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_converter.mlir.ir import Value

from nnlite_conversion.pipeline.lowering.stablehlo.values import (
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
