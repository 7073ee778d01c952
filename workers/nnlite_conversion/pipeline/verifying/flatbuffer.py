"""Reads operators, precision and quantization steps from a `.tflite` file, without running it."""

import mmap
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from nnlite.vocabulary import Precision

_OPERATORS: dict[int, str] = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)
}


_FLOATS = {getattr(schema.TensorType, name) for name in ("FLOAT16", "FLOAT32", "FLOAT64")}
#: Operators between integers and floats, which compute nothing.
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
#: Operators that run other subgraphs, with the class of their options and its methods that return those. The
#: bodies of others, such as that of STABLEHLO_REDUCE_WINDOW, only say what they compute.
_CONTROL_FLOW = {
    "IF": (schema.IfOptions, ("ThenSubgraphIndex", "ElseSubgraphIndex")),
    "WHILE": (schema.WhileOptions, ("CondSubgraphIndex", "BodySubgraphIndex")),
}
_QUANTIZED = {getattr(schema.TensorType, name) for name in ("INT4", "INT8", "UINT8", "INT16")}


def operators(path: Path) -> dict[str, int]:
    """Count the operators of the file by name, over all subgraphs.

    Custom operators have their own names, builtin ones those of the schema, such as `CONV_2D`.
    """
    model = _model(path)
    names = [_name(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength())]
    counts: Counter[str] = Counter()
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        counts.update(
            names[subgraph.Operators(index).OpcodeIndex()] for index in range(subgraph.OperatorsLength())
        )
    return dict(sorted(counts.items()))


def operators_in_floats(path: Path) -> tuple[str, ...]:
    """Return the names of the operators that compute with floats, in their order, one for each occurrence."""
    model = _model(path)
    names = [_name(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength())]
    found, runs = [], [0]
    for number in runs:  # which grows
        subgraph = model.Subgraphs(number)
        for operator in map(subgraph.Operators, range(subgraph.OperatorsLength())):
            name = names[operator.OpcodeIndex()]
            runs += [each for each in _runs(operator, name) if each not in runs]
            tensors = (*_indices(operator.InputsAsNumpy()), *_indices(operator.OutputsAsNumpy()))
            types = {subgraph.Tensors(index).Type() for index in tensors}
            if name not in _CONVERSIONS and types & _FLOATS:
                found.append(name)
    return tuple(found)


def _runs(operator: Any, name: str) -> list[int]:
    """Return the subgraphs that an operator runs."""
    if name not in _CONTROL_FLOW:
        return []
    kind, methods = _CONTROL_FLOW[name]
    options, table = kind(), operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return [getattr(options, method)() for method in methods]


def _indices(tensors: Any) -> list[int]:
    """Return the indices of an operator's tensors, of which there may be none, without those left out."""
    return [int(index) for index in np.atleast_1d(tensors) if index >= 0]


def after_last_products(path: Path, products: Collection[str]) -> frozenset[str]:
    """Return the names of the tensors that are computed after the last products on the way to the outputs.

    Args:
        products: names of operators, as `operators` returns them.
    """
    model = _model(path)
    names = [_name(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength())]
    subgraph = model.Subgraphs(0)
    before: set[int] = set()  # tensors that a later product reads, directly or not
    after = []
    for operator in map(subgraph.Operators, reversed(range(subgraph.OperatorsLength()))):
        outputs = operator.OutputsAsNumpy()
        is_product = names[operator.OpcodeIndex()] in products
        if is_product or not before.isdisjoint(outputs):
            before.update(operator.InputsAsNumpy())
        if not is_product and before.isdisjoint(outputs):
            after += [subgraph.Tensors(index).Name().decode() for index in outputs]
    return frozenset(after)


def output_steps(path: Path) -> list[float | None]:
    """Return the quantization step of each float output of a DEQUANTIZE operator, None for other outputs."""
    model = _model(path)
    subgraph = model.Subgraphs(0)
    steps: dict[int, float] = {}
    for operator in map(subgraph.Operators, range(subgraph.OperatorsLength())):
        if _name(model.OperatorCodes(operator.OpcodeIndex())) == "DEQUANTIZE":
            quantization = subgraph.Tensors(operator.Inputs(0)).Quantization()
            if quantization is not None and quantization.ScaleLength() == 1:
                steps[operator.Outputs(0)] = float(quantization.Scale(0))
    return [steps.get(subgraph.Outputs(index)) for index in range(subgraph.OutputsLength())]


def precision(path: Path) -> Precision:
    """Return the precision of a file, inferred from the types of its weights and activations."""
    model = _model(path)
    weights: set[int] = set()
    activations: set[int] = set()
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(subgraph.Tensors, range(subgraph.TensorsLength())):
            constant = model.Buffers(tensor.Buffer()).DataLength() > 0
            (weights if constant else activations).add(tensor.Type())
    if activations & _QUANTIZED:
        return Precision.INT8
    if weights & _QUANTIZED:
        return Precision.DYNAMIC
    return Precision.FP16 if schema.TensorType.FLOAT16 in weights else Precision.FP32


def _model(path: Path) -> Any:
    # Mapped: of a file of 200 MB these functions read a few kilobytes.
    with path.open("rb") as file:
        return schema.Model.GetRootAs(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), 0)


def _name(code: Any) -> str:
    # Numbers up to 127 may be in the deprecated field only; it cannot hold larger ones.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM:
        name: bytes = code.CustomCode() or b"CUSTOM"
        return name.decode()
    return operator_name(number)


def operator_name(number: int) -> str:
    """Return the name of a builtin operator, such as `CONV_2D`."""
    return _OPERATORS.get(number, f"BUILTIN_{number}")
