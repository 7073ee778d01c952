"""Runs an artifact on the host and keeps the result of every operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray

from nnlite.artifacts.inputs import dequantized
from nnlite_conversion.pipeline.lowering.debug_names import node_names
from nnlite_conversion.pipeline.verifying.parity import HostArtifact

#: What the quantizer appends to the name of a tensor that it copies in another type.
_QUANTIZER_SUFFIXES = ("_dequant", "_quantized")


@dataclass(frozen=True, kw_only=True)
class ArtifactStep:
    """One operator of the artifact, with one of its results."""

    #: As the flatbuffer calls it, such as `CONV_2D`.
    operator: str
    #: Name of its tensor, without what the quantizer appends.
    tensor: str
    #: The graph's nodes that it computes.
    nodes: tuple[str, ...]
    #: Real numbers: quantized results are dequantized.
    value: NDArray[Any]


class TracedArtifact(HostArtifact):
    """An artifact that keeps the results of all its operators; it runs without XNNPACK, which keeps none.

    Raises:
        RuntimeError, ValueError: the runtime refuses it, here or when it runs.
    """

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__(
            path,
            threads,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )

    def steps(self, output_nodes: Sequence[str]) -> list[ArtifactStep]:
        """Return the results of the last run, in the order in which the operators run.

        Args:
            output_nodes: the graph's node that computes each output, whose tensors have names of their own.
        """
        tensors = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        outputs = {
            detail["index"]: node
            for detail, node in zip(self._interpreter.get_output_details(), output_nodes, strict=True)
        }
        steps = []
        for operator in self._interpreter._get_ops_details():
            for index in map(int, operator["outputs"]):
                if index in tensors:
                    name = _original_name(tensors[index]["name"])
                    nodes = (outputs[index],) if index in outputs else node_names(name)
                    value = self._real(tensors[index])
                    steps.append(
                        ArtifactStep(operator=operator["op_name"], tensor=name, nodes=nodes, value=value)
                    )
        return steps

    def _real(self, detail: dict[str, Any]) -> NDArray[Any]:
        value = self._interpreter.get_tensor(detail["index"])
        scales, zero_points = (detail["quantization_parameters"][key] for key in ("scales", "zero_points"))
        if value.dtype.kind in "iu" and len(scales) == 1:
            value = dequantized(value, float(scales[0]), int(zero_points[0]))
        return np.atleast_1d(value)


def _original_name(name: str) -> str:
    for suffix in _QUANTIZER_SUFFIXES:
        name = name.removesuffix(suffix)
    return name
