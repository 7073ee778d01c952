"""Formats of artifacts besides `.tflite`: how a network is exported to each, and run in its runtime.

`nnlite.backends` says which runtime executes which format. A file of any format takes the same inputs
and returns the same outputs as the fp32 `.tflite` file, in the same layout, so that all are judged and
measured alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from numpy.typing import NDArray

from nnlite.vocabulary import ArtifactFormat
from nnlite_conversion.outcome import TensorSpec
from nnlite_conversion.pipeline.formats import executorch, onnx
from nnlite_conversion.pipeline.loading.load import Loaded


class Artifact(Protocol):
    """An artifact opened in the runtime of its format; its methods raise RuntimeError or ValueError."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Its inputs, in order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Its outputs, in order."""

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for the network's inputs."""

    def reals(self, tensors: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return the real numbers that its outputs stand for."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a network becomes a file of one format."""

    #: Writes the network as one file with its weights in it; raises Failure of class `model`. Takes the
    #: exported graph, without rewrites, which it may change; the network, for names of inputs and outputs.
    export: Callable[[torch.export.ExportedProgram, Loaded, Path], None]
    #: Opens a file, for so many threads; raises RuntimeError or ValueError if the runtime refuses it.
    opened: Callable[[Path, int], Artifact]
    #: Counts the operators of a file by name.
    operators: Callable[[Path], dict[str, int]]


FORMATS: Final[Mapping[ArtifactFormat, Format]] = {
    ArtifactFormat.ONNX: Format(export=onnx.export, opened=onnx.OnnxArtifact, operators=onnx.operators),
    ArtifactFormat.PTE: Format(
        export=executorch.export, opened=executorch.ExecutorchArtifact, operators=executorch.operators
    ),
}
