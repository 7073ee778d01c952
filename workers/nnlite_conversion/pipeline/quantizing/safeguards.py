"""Safeguards of integer artifacts: find and avoid integers that would lose what a network computes.

They are for artifacts that are not right without: of all others the bytes stay.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from nnlite_conversion.pipeline.verifying import flatbuffer

#: LiteRT compares integers after it has multiplied them by their step: where that is small, different ones
#: are equal. A sort then has two elements in one place.
_COMPARISONS = frozenset({"EQUAL", "NOT_EQUAL"})
#: Steps that the kernels of these operators fix. Of the shares of a softmax over a thousand elements none may
#: be half a step.
_FIXED_STEPS = {"SOFTMAX": 1 / 256, "LOGISTIC": 1 / 256, "TANH": 1 / 128}
#: Fewest steps in the range of a result.
_FEWEST_STEPS = 32
#: Largest integer of a bias, whose steps are those of its input times those of its weights: as much is left
#: for the sum of the products.
_MAX_BIAS = 2.0**30
#: Largest integer of weights, and steps in the range of an input.
_MAX_WEIGHT, _INPUT_STEPS = 127.0, 255.0
_INTEGERS = frozenset({schema.TensorType.INT8, schema.TensorType.INT32, schema.TensorType.INT64})
#: Operators by whose result one of several values is chosen: a step of an integer leads to another one.
_ROUNDING = frozenset({"FLOOR", "CEIL", "ROUND"})
#: Operators whose result grows beyond every range where an argument vanishes, and the place of that.
_SINGULAR = {"DIV": 1, "RSQRT": 0, "LOG": 0}
#: The quantizer takes ranges below 1e-9 for that, to have no step of zero; below this one they are enlarged
#: while it computes the step.
_SMALL_RANGE = 1e-6
#: Largest value of a tensor that is always zero.
_OF_ZEROS = 1.0
_ENLARGED = 2.0**60


class _Arguments(NamedTuple):
    """Places of an operator's arguments, and the axis of the weights along which steps differ."""

    input: int
    weights: int
    bias: int
    axis: int


_ARGUMENTS = {
    "CONV_2D": _Arguments(0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": _Arguments(0, 1, 2, 3),
    "FULLY_CONNECTED": _Arguments(0, 1, 2, 0),
    "TRANSPOSE_CONV": _Arguments(2, 1, 3, 0),
}


def loses(model: Any, ranges: Mapping[str, Any]) -> Callable[[str, str], bool]:
    """Return whether an operator, by its name and that of its result, computes something else in integers.

    Args:
        model: the fp32 artifact, as the quantizer reads it.
        ranges: of activations, from the calibration, by name.
    """
    # Quantizing changes the ranges.
    sizes = {name: _size(each) for name, each in ranges.items() if "min" in each}
    of_constants = {
        name_of(graph.tensors[operator.outputs[0]])
        for graph, operator, kind in operators_of(model)
        # Each column of it gets a step of its own, and LiteRT takes one for all.
        if kind == "BATCH_MATMUL" and is_constant(model, graph.tensors[operator.inputs[0]])
    }

    def in_floats(operator: str, result: str) -> bool:
        step = _FIXED_STEPS.get(operator)
        return (
            operator in _COMPARISONS
            or result in of_constants
            or (step is not None and 0 < sizes.get(result, 0.0) < _FEWEST_STEPS * step)
        )

    return in_floats


def decisive(model: Any, products: Collection[str]) -> frozenset[str]:
    """Return the names of the results, behind the last products, that places and divisors are computed from.

    Places are what becomes whole numbers, such as those of the pixels that a `grid_sample` takes: next to a
    boundary, a step of an integer leads to another pixel. A divisor may be nearer to zero than a step.

    Args:
        model: the fp32 artifact, as the quantizer reads it.
        products: names of operators.
    """
    found = set()
    operators = list(operators_of(model))
    rounded = {
        id(graph.tensors[result])
        for graph, operator, kind in operators
        if _rounds(graph, operator, kind)
        for result in operator.outputs
    }
    wanted: set[int] = set()
    for graph, operator, kind in reversed(operators):
        inputs = [graph.tensors[each] for each in operator.inputs if each >= 0]
        results = [graph.tensors[each] for each in operator.outputs]
        if _rounds(graph, operator, kind):
            wanted |= set(map(id, inputs))
        elif kind in _SINGULAR:
            wanted.add(id(inputs[_SINGULAR[kind]]))
        # As the share of the next pixel: what is left of a value without its whole number.
        with_whole = not rounded.isdisjoint(map(id, inputs))
        if kind not in products and (with_whole or not wanted.isdisjoint(map(id, results))):
            wanted |= set(map(id, inputs))
            found |= set(map(name_of, results))
    return frozenset(found)


def _rounds(graph: Any, operator: Any, kind: str) -> bool:
    to_integers = graph.tensors[operator.outputs[0]].type in _INTEGERS if kind == "CAST" else False
    return kind in _ROUNDING or to_integers


def operators_of(model: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yield every operator with its graph, in their order, and its name."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            yield graph, operator, flatbuffer.operator_name(max(code.builtinCode, code.deprecatedBuiltinCode))


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether a tensor has its values in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def name_of(tensor: Any) -> str:
    """Return the name that ranges have a tensor by."""
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)


def with_ranges_of_zeros(ranges: Mapping[str, Any]) -> dict[str, Any]:
    """Return `ranges` with one for each tensor that is zero for all samples, as behind a dead ReLU.

    Of the quantizer's own range, 1e-9, XNNPACK refuses the layer ("failed to create XNNPACK runtime"), and
    the next one has no room for its biases.
    """
    return {
        name: each | {"max": np.full_like(each["max"], _OF_ZEROS)}
        if "min" in each and not _size(each)
        else each
        for name, each in ranges.items()
    }


def with_room_for_biases(model: Any, ranges: Mapping[str, Any]) -> dict[str, Any]:
    """Return `ranges` with those of weights whose biases would not fit into 32 bits otherwise.

    Behind layers whose values vanish, as they do with fresh weights, the quantizer cuts off biases, and with
    them what the network returns. The precision that wider weights lose is small next to their bias.

    Args:
        model: the fp32 artifact, as the quantizer reads it.
        ranges: of activations, from the calibration, by name.
    """
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    widest: dict[int, NDArray[Any]] = {}  # by buffer, which several tensors share
    names: dict[int, set[str]] = {}
    for graph, operator, kind in operators_of(model):
        places = _ARGUMENTS.get(kind)
        if places is None or len(operator.inputs) <= places.bias or operator.inputs[places.bias] < 0:
            continue
        entry, weights, bias = (graph.tensors[operator.inputs[place]] for place in places[:3])
        names.setdefault(weights.buffer, set()).add(name_of(weights))
        range_ = ranges.get(name_of(entry))
        values, biases = (
            tfl_flatbuffer_utils.get_tensor_data(each, model.buffers) for each in (weights, bias)
        )
        if not range_ or values is None or biases is None or len(biases) != values.shape[places.axis]:
            continue
        others = tuple(axis for axis in range(values.ndim) if axis != places.axis)
        found = np.abs(values).max(others, keepdims=True)
        needed = np.abs(biases) * (_MAX_WEIGHT * _INPUT_STEPS / _MAX_BIAS / (_size(range_) or _OF_ZEROS))
        wider = np.maximum(found, needed.reshape(found.shape).astype(found.dtype))
        if (wider > found).any():
            widest[weights.buffer] = np.maximum(wider, widest.get(weights.buffer, 0))
    wide = {name: bound for buffer, bound in widest.items() for name in names[buffer]}
    return {**ranges, **{name: {"min": -bound, "max": bound} for name, bound in wide.items()}}


@contextmanager
def small_steps() -> Iterator[None]:
    """Let ranges below 1e-9 have steps of their own inside the context."""
    from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

    original = uniform_quantize_tensor.tensor_zp_scale_from_min_max

    def enlarged(low: Any, high: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        size = np.maximum(np.abs(low), np.abs(high))
        factor = np.where((size > 0) & (size < _SMALL_RANGE), _ENLARGED, 1.0)
        zero, step = original(low * factor, high * factor, *args, **kwargs)
        return zero, step / factor

    with mock.patch.object(uniform_quantize_tensor, "tensor_zp_scale_from_min_max", enlarged):
        yield


def _size(range_: Any) -> float:
    """Return how wide a range is, with zero in it."""
    return max(float(np.max(range_["max"])), 0.0) - min(float(np.min(range_["min"])), 0.0)
