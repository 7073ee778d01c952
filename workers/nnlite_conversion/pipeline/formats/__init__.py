"""Formats of artifacts besides `.tflite`: how a network is exported to each, and run in its runtime.

`nnlite.backends` says which runtime executes which format. A file of any format takes the same inputs
and returns the same outputs as the fp32 `.tflite` file, in the same layout, so that all are judged and
measured alike.
"""

from collections.abc import Mapping, Sequence
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


class Format(Protocol):
    """A module of this package."""

    def export(self, program: torch.export.ExportedProgram, loaded: Loaded, path: Path) -> None:
        """Write the network as one file with its weights in it.

        Args:
            program: the network's exported graph, without rewrites; it may be changed.
            loaded: the network, for names of inputs and outputs.
            path: of the file.

        Raises:
            Failure: class `model`: an operator cannot be exported.
        """

    def opened(self, path: Path, threads: int) -> Artifact:
        """Open a file; raises RuntimeError or ValueError if the runtime refuses it."""

    def operators(self, path: Path) -> dict[str, int]:
        """Count the operators of a file by name."""


FORMATS: Final[Mapping[ArtifactFormat, Format]] = {ArtifactFormat.ONNX: onnx, ArtifactFormat.PTE: executorch}
