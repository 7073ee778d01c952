"""Large weights: written into the file by nnlite instead of the converter, which would copy each four times.

That is a third of the conversion of a network with many. The converter gets placeholders: constants without
content, which it writes as empty buffers. The content is appended to the file, and their buffers point to it.
Most constants are replaced when the converter is about to write; those of linear layers, which it neither
folds nor reads, when they are lowered. The file has the same operators, weights and outputs; its constants
have another order and other names.
"""

import math
import mmap
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import arith
from numpy.typing import NDArray

from nnlite.host.files import write_in_blocks

#: Constants of so many bytes get a placeholder.
MIN_BYTES: Final = 1 << 16
#: Of all weights with a placeholder: the file has to end below 2 GiB, the other constants included.
MAX_BYTES: Final = 1 << 30
#: How the names of placeholders begin, in MLIR and in the file.
_NAME: Final = "nnlite_weight_"
_RESOURCE: Final = re.compile(rf"dense_resource<({_NAME}\d+)>")
#: Bytes that the content of a buffer is aligned to in the schema.
_ALIGNMENT: Final = 16
#: Place of the content among the fields of a buffer, as generated code counts.
_DATA_FIELD: Final = 4
_OFFSET: Final = struct.Struct("<I")
#: The content of placeholders; of a wrong size, so that the converter writes an empty buffer.
_PLACEHOLDER: Final = np.zeros(64, np.uint8)

_Floats = NDArray[np.float32]


class PlaceholderLostError(Exception):
    """The converter did something else with a placeholder than to write it as a constant."""


class LargeWeights:
    """The weights of one lowering that have placeholders."""

    def __init__(self) -> None:
        self._bytes = 0
        #: Weights that the converter does not see, by the name of their placeholder.
        self._lowered: dict[str, _Floats] = {}
        #: All, by the name that they have in the file.
        self._in_file: dict[str, _Floats] = {}

    def __bool__(self) -> bool:
        """Whether there is a placeholder."""
        return bool(self._lowered or self._in_file)

    def placeholder_of(self, weight: torch.Tensor) -> ir.Value | None:
        """Return a placeholder for `weight`; None: the converter has to see it.

        The converter changes infinite weights, and writes those that are all alike in another way.
        """
        weight = weight.detach()
        if weight.dtype is not torch.float32 or not weight.is_contiguous() or not self._fits(weight.nbytes):
            return None
        low, high = (float(end) for end in torch.aminmax(weight))
        if not math.isfinite(low) or not math.isfinite(high) or low == high:
            return None
        self._bytes += weight.nbytes
        name = f"{_NAME}{len(self._lowered)}"
        self._lowered[name] = weight.numpy()
        return _placeholder(name, ir.RankedTensorType.get(weight.shape, ir.F32Type.get()))

    def replace_constants(self, module: ir.Module | ir.Operation) -> None:
        """Replace large constants by placeholders in a module that is about to be written.

        Raises:
            PlaceholderLostError: one of those that were lowered is gone.
        """
        operation = module.operation if isinstance(module, ir.Module) else module
        found = set()
        contents: dict[ir.Attribute, _Floats] = {}
        for constant in _constants(operation):
            value = constant.attributes["value"]
            if isinstance(value, ir.DenseElementsAttr):
                if value not in contents and (content := self._large(value)) is not None:
                    contents[value] = content
                    self._bytes += content.nbytes
            elif match := _RESOURCE.match(str(value)):
                contents[value] = self._lowered[match[1]]
                found.add(match[1])
            if value in contents:
                # Behind the numbers of those that were lowered.
                name = f"{_NAME}{len(self._lowered) + len(self._in_file)}"
                self._in_file[name] = contents[value]
                with operation.context, ir.InsertionPoint(constant), ir.Location.name(name):
                    constant.results[0].replace_all_uses_with(_placeholder(name, constant.results[0].type))
                constant.erase()
        if missing := self._lowered.keys() - found:
            raise PlaceholderLostError(f"{len(missing)} of {len(self._lowered)} placeholders are gone")

    def write(self, path: Path) -> None:
        """Append the weights to the file, and let their buffers point to them.

        Raises:
            PlaceholderLostError: a buffer is missing, has content, or is that of two weights.
        """
        if not self._in_file:
            return
        with path.open("r+b") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                fields = dict(_empty_buffers(mapped))
            if missing := self._in_file.keys() - fields.keys():
                raise PlaceholderLostError(
                    f"{len(missing)} of {len(self._in_file)} weights have no empty buffer"
                )
            if len({fields[name] for name in self._in_file}) < len(self._in_file):
                raise PlaceholderLostError("two weights have one buffer")
            end = file.seek(0, os.SEEK_END)
            written: dict[int, int] = {}
            for name, content in self._in_file.items():
                if id(content) not in written:
                    # The content is aligned, behind its length.
                    start = -(-(end + _OFFSET.size) // _ALIGNMENT) * _ALIGNMENT - _OFFSET.size
                    file.write(bytes(start - end) + _OFFSET.pack(content.nbytes))
                    write_in_blocks(file, content.data)
                    end = start + _OFFSET.size + content.nbytes
                    written[id(content)] = start
                file.seek(fields[name])
                file.write(_OFFSET.pack(written[id(content)] - fields[name]))
                file.seek(end)

    def _large(self, value: Any) -> _Floats | None:
        """Return the content of a constant, without a copy; None: it is small, or no floats."""
        kind = value.type
        if not isinstance(kind.element_type, ir.F32Type) or value.is_splat:
            return None
        nbytes = math.prod(kind.shape) * np.dtype(np.float32).itemsize
        return np.asarray(value) if nbytes >= MIN_BYTES and self._fits(nbytes) else None

    def _fits(self, nbytes: int) -> bool:
        return self._bytes + nbytes <= MAX_BYTES


def _placeholder(name: str, kind: ir.RankedTensorType) -> ir.Value:
    content = ir.DenseResourceElementsAttr.get_from_buffer(_PLACEHOLDER.data, name, kind)
    return arith.ConstantOp(kind, content).results[0]


def _constants(module: ir.Operation) -> list[ir.Operation]:
    found = []

    def visit(operation: ir.Operation) -> ir.WalkResult:
        if operation.name == "arith.constant":
            found.append(operation)
        return ir.WalkResult.ADVANCE

    module.walk(visit)
    return found


def _empty_buffers(content: mmap.mmap) -> Iterator[tuple[str, int]]:
    """Yield the name of each tensor with an empty buffer, and where the place of its content is written."""
    model = schema.Model.GetRootAs(content, 0)
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            buffer = model.Buffers(tensor.Buffer())
            field = buffer._tab.Offset(_DATA_FIELD)
            if field and not buffer.DataLength():
                yield tensor.Name().decode(errors="replace"), buffer._tab.Pos + field
