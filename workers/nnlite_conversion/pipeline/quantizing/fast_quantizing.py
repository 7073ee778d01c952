"""Lets ai-edge-quantizer do less with large weights, for the same bytes: part of shortcut `weights`.

Version 0.10.0 copies the whole file for each of its interpreters, opens one only to look for tensors without
a range, copies the constants when it reads what a network computes, converts weights to half precision twice,
and quantizes large ones tens of thousands of times, because it counts elements where it means rows. It reads
the file five times for three precisions, in Python.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final
from unittest import mock

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

#: Bytes of weights that are quantized at once: a core's cache holds what is computed on the way.
PART_BYTES: Final = 1 << 19
#: Of weights in a file, bytes.
_ALIGNMENT: Final = 16

#: Weights, and what they were quantized to.
_Stored = dict[tuple[Any, ...], tuple[NDArray[Any], NDArray[Any]]]


@contextlib.contextmanager
def fast_quantizing(fp32: Path) -> Iterator[None]:
    """Let the quantizer do less inside the context, where it reads no other file than `fp32`."""
    from ai_edge_quantizer import model_modifier
    from ai_edge_quantizer.algorithms.nonlinear_quantize import float_casting
    from ai_edge_quantizer.algorithms.uniform_quantize import common_quantize, uniform_quantize_tensor
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils, tfl_interpreter_utils

    status = fp32.stat()
    model, quantized = _read(fp32, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    replaced: dict[tuple[Any, str], object] = {
        # Each reader changes what it has read, but not the weights.
        (tfl_flatbuffer_utils, "read_model"): lambda content: model_modifier._copy_with_views(model),
        (uniform_quantize_tensor, "uniform_quantize"): _in_parts(uniform_quantize_tensor, quantized),
        (common_quantize, "get_activation_min_max"): _ends_once(common_quantize.get_activation_min_max),
        (Quantizer, "_ensure_model_qsv_sufficient"): _where_one_is_empty(
            Quantizer._ensure_model_qsv_sufficient
        ),
        (tfl_interpreter_utils, "create_tfl_interpreter"): _opened(fp32),
        (tfl_interpreter_utils, "get_tensor_name_to_content_map"): _without_constants(
            model, tfl_interpreter_utils
        ),
        (model_modifier.ModelModifier, "_serialize_model"): _in_pieces,
        (float_casting, "tfl_flatbuffer_utils"): _with_halves(tfl_flatbuffer_utils),
    }
    with contextlib.ExitStack() as stack:
        for (owner, name), replacement in replaced.items():
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


@lru_cache(2)
def _read(fp32: Path, identity: tuple[int, ...]) -> tuple[Any, _Stored]:
    """Return a file's content as the quantizer reads it, and an empty store of its weights in integers.

    Of two files: a stand-in's is quantized in turn with the model's.
    """
    return flatbuffer_utils.read_model(str(fp32)), {}


def _in_parts(module: ModuleType, stored: _Stored) -> Callable[..., NDArray[Any]]:
    """Quantize weights in parts that stay in the cache, and for `dynamic` and int8 once.

    Args:
        stored: what was quantized, by the place of the weights in memory and the steps.
    """
    original = module.uniform_quantize

    def quantize(tensor: NDArray[Any], parameters: Any, is_blockwise_quant: bool = False) -> NDArray[Any]:
        if is_blockwise_quant or tensor.ndim < 2 or tensor.nbytes <= PART_BYTES:
            return original(tensor, parameters, is_blockwise_quant)  # type: ignore[no-any-return]
        parameters = module.fix_quantization_params_rank(tensor, parameters)
        steps = [(str(each.dtype), each.tobytes()) for each in (parameters.scale, parameters.zero_point)]
        kind = (parameters.num_bits, parameters.symmetric, parameters.signed)
        key = (tensor.ctypes.data, tensor.shape, tensor.strides, *steps, *kind)
        if key not in stored:
            stored[key] = tensor, in_parts(tensor, parameters)  # kept, so that its place stays its own
        return stored[key][1]

    def in_parts(tensor: NDArray[Any], parameters: Any) -> NDArray[Any]:
        rows = max(1, PART_BYTES * len(tensor) // tensor.nbytes)
        kind = module.IntType(parameters.num_bits, signed=parameters.signed)
        narrow = parameters.symmetric and parameters.num_bits >= 8
        without_zero = not parameters.zero_point.any()
        result = None
        for start in range(0, len(tensor), rows):
            part, scale, zero = (
                tensor[start : start + rows],
                *(_rows(each, start, rows) for each in (parameters.scale, parameters.zero_point)),
            )
            if result is None or not without_zero:
                part = original(part, replace(parameters, scale=scale, zero_point=zero))  # checks them
            else:  # which the quantizer adds, as floats of 64 bits
                part = module._round_and_clip_inplace(np.divide(part, scale), kind, narrow)
            if result is None:
                result = np.empty(tensor.shape, part.dtype)
            result[start : start + rows] = part
        return result  # type: ignore[return-value]

    return quantize


def _rows(values: NDArray[Any], start: int, rows: int) -> NDArray[Any]:
    return values if len(values) == 1 else values[start : start + rows]


def _ends_once(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return the ends of a tensor's values from one pass where all are valid, for each reader the same."""
    seen: dict[int, tuple[weakref.ref[NDArray[Any]], dict[str, Any]]] = {}

    def ends(
        values: NDArray[Any],
        valid_float_range_min: float | None = None,
        valid_float_range_max: float | None = None,
    ) -> dict[str, Any]:
        if not isinstance(values, np.ndarray):  # a result without dimensions is a number
            return original(values, valid_float_range_min, valid_float_range_max)
        if id(values) not in seen or seen[id(values)][0]() is not values:
            result = found(values, valid_float_range_min, valid_float_range_max)
            seen[id(values)] = weakref.ref(values), result
        return dict(seen[id(values)][1])  # the caller adds to it

    def found(values: NDArray[Any], lowest: float | None, highest: float | None) -> dict[str, Any]:
        if values.dtype == np.float32 and values.size and lowest is not None and highest is not None:
            low, high = values.min(), values.max()
            if lowest < low and high < highest:
                shape = (1,) * values.ndim
                return {"min": np.reshape(low, shape), "max": np.reshape(high, shape)}
        return original(values, lowest, highest)

    return ends


def _where_one_is_empty(original: Callable[..., None]) -> Callable[..., None]:
    """Look for tensors without a range only where a range is empty."""

    def check(job: Any, ranges: dict[str, Any]) -> None:
        if not all(ranges.values()):
            original(job, ranges)

    return check


def _opened(fp32: Path) -> Callable[..., Interpreter]:
    """Open the file instead of a copy of its content."""

    def create(
        content: object,
        *,
        allocate_tensors: bool = True,
        use_xnnpack: bool = True,
        num_threads: int = 16,
        preserve_all_tensors: bool = True,
        disable_delegate_node_fusion: bool = False,
        force_delegate_node_profiling: bool = False,
    ) -> Interpreter:
        interpreter = Interpreter(
            model_path=str(fp32),
            num_threads=num_threads,
            experimental_op_resolver_type=OpResolverType.BUILTIN
            if use_xnnpack
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=preserve_all_tensors,
            experimental_disable_delegate_node_fusion=disable_delegate_node_fusion,
            experimental_force_delegate_node_profiling=force_delegate_node_profiling,
        )
        if allocate_tensors:
            interpreter.allocate_tensors()
        return interpreter

    return create


def _without_constants(model: Any, module: ModuleType) -> Callable[..., dict[str, NDArray[Any]]]:
    """Copy only what the network has computed out of an interpreter."""
    constants = {
        tensor.name.decode()
        for graph in model.subgraphs
        for tensor in graph.tensors
        if model.buffers[tensor.buffer].data is not None
    }

    def contents(
        interpreter: Interpreter, subgraph_index: int = 0, dequantize: bool = False
    ) -> dict[str, NDArray[Any]]:
        return {
            detail["name"]: module.get_tensor_data(interpreter, detail, subgraph_index, dequantize)
            for detail in interpreter.get_tensor_details(subgraph_index)
            if detail["name"] and detail["name"] not in constants and np.all(detail["shape"])
        }

    return contents


def _in_pieces(
    modifier: object, model: Any, packed: Any, serialize_to_path: object = None
) -> list[bytes | bytearray | memoryview]:
    """Return what a file consists of, which the quantizer joins: its graph, and its weights behind that."""
    for number in packed.data_for_buffer_id:
        buffer = model.buffers[number]
        # Not 0, for which no place is reserved.
        buffer.data, buffer.offset, buffer.size = None, 1, 1
    graph = flatbuffer_utils.convert_object_to_bytearray(model)
    graph.extend(bytes(-len(graph) % _ALIGNMENT))
    root, place = flatbuffer_utils.Model.GetRootAs(graph), len(graph)
    pieces: list[bytes | bytearray | memoryview] = [graph]
    for number, content in packed.data_for_buffer_id.items():
        flatbuffer_utils.update_packed_buffer(root.Buffers(number), offset=place, size=len(content))
        padding = bytes(-len(content) % _ALIGNMENT)
        pieces += [content, padding]
        place += len(content) + len(padding)
    return pieces


class _Halved(np.ndarray):
    """Weights that are converted to half precision once, and by torch: numpy takes several times as long."""

    _half: NDArray[np.float16] | None = None

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> NDArray[Any]:
        values = self.view(np.ndarray)
        if dtype is not np.float16 or args or kwargs or values.dtype != np.float32:
            return values.astype(dtype, *args, **kwargs)
        if self._half is None:
            self._half = torch.from_numpy(values).half().numpy()
        return self._half


def _with_halves(module: ModuleType) -> SimpleNamespace:
    """Return `module` with a function that gives weights which are converted once."""

    def get_tensor_data(tensor: Any, buffers: Any) -> NDArray[Any] | None:
        values = module.get_tensor_data(tensor, buffers)
        return values.view(_Halved) if isinstance(values, np.ndarray) and values.flags.writeable else values

    return SimpleNamespace(**{**vars(module), "get_tensor_data": get_tensor_data})
