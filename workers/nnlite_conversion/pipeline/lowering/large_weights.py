"""Writes large weights into the file past the converter, which would copy each four times on the way.

That is a third of the conversion of a network with many. The constants that the converter writes have no
content: it writes them as empty buffers. The content is appended to the file, and their buffers point to it.
Of linear layers, whose weights it neither folds nor reads, it does not see the content at all. The file has
the same operators, weights and outputs; its constants have another order and other names.
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

#: Constants of so many bytes are written past the converter.
MIN_BYTES: Final = 1 << 16
#: What is left out in all: the file has to end below 2 GiB, the other constants included.
MAX_BYTES: Final = 1 << 30
#: How the names of constants without content begin, in MLIR and in the file.
_NAME: Final = "nnlite_weight_"
_RESOURCE: Final = re.compile(rf"dense_resource<({_NAME}\d+)>")
#: Bytes that the content of a buffer is aligned to in the schema.
_ALIGNMENT: Final = 16
#: Place of the content among the fields of a buffer, as generated code counts.
_DATA_FIELD: Final = 4
_OFFSET: Final = struct.Struct("<I")
#: The content that constants have until then; of a wrong size, so that the converter leaves it out.
_NOTHING: Final = np.zeros(64, np.uint8)

_Floats = NDArray[np.float32]


class NotPlaced(Exception):
    """The converter did something else with a constant without content than to pass it on."""


class LargeWeights:
    """The weights that one lowering writes past the converter."""

    def __init__(self) -> None:
        self._bytes = 0
        #: Weights that the converter does not see, by the name of their constant.
        self._unseen: dict[str, _Floats] = {}
        #: All, by the name that they have in the file.
        self._left_out: dict[str, _Floats] = {}

    def leave_out(self, weight: torch.Tensor) -> ir.Value | None:
        """Return a constant that stands for `weight`; None: the converter has to see it.

        It changes infinite weights, and writes those that are all alike in another way.
        """
        weight = weight.detach()
        if weight.dtype is not torch.float32 or not weight.is_contiguous() or not self._fits(weight.nbytes):
            return None
        low, high = (float(end) for end in torch.aminmax(weight))
        if not math.isfinite(low) or not math.isfinite(high) or low == high:
            return None
        name = f"{_NAME}{len(self._unseen)}"
        self._unseen[name] = weight.numpy()
        return _empty(name, ir.RankedTensorType.get(weight.shape, ir.F32Type.get()))

    def take_out(self, module: ir.Module | ir.Operation) -> None:
        """Take large constants out of a module that is about to be written.

        Raises:
            NotPlaced: the converter does not pass on one that it has not seen.
        """
        operation = module.operation if isinstance(module, ir.Module) else module
        passed_on = set()
        contents: dict[ir.Attribute, _Floats] = {}
        for constant in _constants(operation):
            value = constant.attributes["value"]
            if isinstance(value, ir.DenseElementsAttr):
                if value not in contents and (content := self._large(value)) is not None:
                    contents[value] = content
            elif match := _RESOURCE.match(str(value)):
                contents[value] = self._unseen[match[1]]
                passed_on.add(match[1])
            if value in contents:
                # Behind the numbers of those that the converter has not seen.
                name = f"{_NAME}{len(self._unseen) + len(self._left_out)}"
                self._left_out[name] = contents[value]
                with operation.context, ir.InsertionPoint(constant), ir.Location.name(name):
                    constant.results[0].replace_all_uses_with(_empty(name, constant.results[0].type))
                constant.erase()
        if missing := self._unseen.keys() - passed_on:
            raise NotPlaced(f"{len(missing)} of {len(self._unseen)} weights are not passed on")

    def write(self, path: Path) -> None:
        """Append the weights to the file, and let their buffers point to them.

        Raises:
            NotPlaced: a buffer is missing, or has content.
        """
        if not self._left_out:
            return
        with path.open("r+b") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                fields = dict(_empty_buffers(mapped))
            if missing := self._left_out.keys() - fields.keys():
                raise NotPlaced(f"{len(missing)} of {len(self._left_out)} weights have no empty buffer")
            end = file.seek(0, os.SEEK_END)
            written: dict[int, int] = {}
            for name, content in self._left_out.items():
                if id(content) not in written:
                    # The content is aligned, behind its length.
                    start = -(-(end + _OFFSET.size) // _ALIGNMENT) * _ALIGNMENT - _OFFSET.size
                    file.write(bytes(start - end) + _OFFSET.pack(content.nbytes))
                    file.write(content.data.cast("B"))
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
        """Return whether this much may be left out too, and count it then."""
        fits = self._bytes + nbytes <= MAX_BYTES
        self._bytes += nbytes if fits else 0
        return fits


def _empty(name: str, kind: ir.RankedTensorType) -> ir.Value:
    nothing = ir.DenseResourceElementsAttr.get_from_buffer(_NOTHING.data, name, kind)
    return arith.ConstantOp(kind, nothing).results[0]


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
