"""Generates the canaries' files: `python tools/make_canary.py`.

Writes `canary.tflite`, `canary_expected.f32` and `gate.tflite`. A canary has much
computation and few weights: it resizes a small input, applies convolutions (3 x 3)
that share their weights, and takes the mean over space. All operators have version 1,
so that TFLite 2.16 on Android runs it as well as the host.
"""

import sys
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from nnlite.artifacts.inputs import raw_bytes, seeded_input
from nnlite_benchmark.protocol.canary import EXPECTED_FILE, GATE_FILE, INPUT_SHAPE, MODEL_FILE, SEED

SIDE, LAYERS, GAIN = 144, 24, 1.4
#: The gate's canary has a hundredth of the computation.
GATE_SIDE, GATE_LAYERS = 36, 3
CHANNELS = INPUT_SHAPE[-1]


class Graph:
    """Collects buffers, tensors and operators of a model with one subgraph."""

    def __init__(self) -> None:
        self.buffers: list[Any] = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[int] = []

    def buffer(self, values: NDArray[Any]) -> int:
        """Store constant values once; returns the buffer's index."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def tensor(self, shape: tuple[int, ...], buffer: int = 0, kind: int = schema.TensorType.FLOAT32) -> int:
        """Add a tensor; returns its index."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(shape), kind, buffer
        tensor.name = f"t{len(self.tensors)}"
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, code: int, inputs: list[int], output: int, kind: int, options: object) -> int:
        """Add an operator with one output; returns that output's tensor."""
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.operators.append(operator)
        return output

    def serialize(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the flatbuffer."""
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs, subgraph.outputs, subgraph.name = inputs, outputs, "main"
        model = schema.ModelT()
        model.version, model.description = 3, "nnlite canary"
        model.subgraphs, model.buffers = [subgraph], self.buffers
        model.operatorCodes = [_operator_code(code) for code in self.codes]
        builder = flatbuffers.Builder(16384)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _operator_code(code: int) -> Any:
    operator_code = schema.OperatorCodeT()
    operator_code.deprecatedBuiltinCode = operator_code.builtinCode = code
    operator_code.version = 1
    return operator_code


def _convolution_options() -> Any:
    options = schema.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = schema.Padding.SAME, 1, 1
    options.dilationWFactor = options.dilationHFactor = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    return options


def build(side: int = SIDE, layers: int = LAYERS) -> bytes:
    """Return a canary: resize to `side`, `layers` convolutions with shared weights, mean over space."""
    random = np.random.default_rng(SEED)
    weights = GAIN * random.standard_normal((CHANNELS, 3, 3, CHANNELS)) / np.sqrt(9 * CHANNELS)
    graph = Graph()
    filters = graph.tensor(weights.shape, graph.buffer(weights.astype(np.float32)))
    bias = graph.tensor((CHANNELS,), graph.buffer(random.uniform(0, 0.5, CHANNELS).astype(np.float32)))
    integer = schema.TensorType.INT32
    size = graph.tensor((2,), graph.buffer(np.array([side, side], np.int32)), integer)
    axes = graph.tensor((2,), graph.buffer(np.array([1, 2], np.int32)), integer)
    first = graph.tensor(INPUT_SHAPE)
    code, kind, full = schema.BuiltinOperator, schema.BuiltinOptions, (1, side, side, CHANNELS)
    now = graph.operator(
        code.RESIZE_BILINEAR,
        [first, size],
        graph.tensor(full),
        kind.ResizeBilinearOptions,
        schema.ResizeBilinearOptionsT(),
    )
    for _ in range(layers):
        now = graph.operator(
            code.CONV_2D,
            [now, filters, bias],
            graph.tensor(full),
            kind.Conv2DOptions,
            _convolution_options(),
        )
    mean = schema.ReducerOptionsT()
    last = graph.operator(code.MEAN, [now, axes], graph.tensor((1, CHANNELS)), kind.ReducerOptions, mean)
    return graph.serialize([first], [last])


def expected(model: bytes) -> bytes:
    """Return the canary's output for its seeded input, raw little-endian float32."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"], seeded_input(INPUT_SHAPE, "float32", SEED)
    )
    interpreter.invoke()
    return raw_bytes(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


if __name__ == "__main__":
    canary = build()
    MODEL_FILE.write_bytes(canary)
    EXPECTED_FILE.write_bytes(expected(canary))
    GATE_FILE.write_bytes(build(GATE_SIDE, GATE_LAYERS))
    sys.stdout.write(f"wrote {MODEL_FILE} ({len(canary)} bytes), {EXPECTED_FILE} and {GATE_FILE}\n")
