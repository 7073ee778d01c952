"""ONNX: exports a network, and runs the file in ONNX Runtime; a `Format`.

No rewrite is needed: PyTorch's exporter knows ATen's operators.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnlite.artifacts.onnx_types import NUMPY_TYPES
from nnlite.vocabulary import Stage
from nnlite_conversion.explanations import explained
from nnlite_conversion.outcome import TensorSpec
from nnlite_conversion.pipeline.loading.load import Loaded


def export(program: torch.export.ExportedProgram, loaded: Loaded, path: Path) -> None:
    """Write the network as an ONNX file; see `Format`."""
    try:
        with torch.no_grad():
            exported = torch.onnx.export(
                program,
                loaded.tensors,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[f"args_{number}" for number in range(len(loaded.samples))],
                output_names=[f"output_{number}" for number in range(len(loaded.expected))],
            )
            exported.save(path, include_initializers=True)
    except (Exception, SystemExit) as error:
        raise explained(Stage.EXPORT, error, "the ONNX exporter fails") from error


class OnnxArtifact:
    """An ONNX file opened in ONNX Runtime.

    Raises:
        RuntimeError: the runtime refuses it, here or when it runs.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        with _as_runtime_error():
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        self.inputs = tuple(map(_spec, self._session.get_inputs()))
        self.outputs = tuple(map(_spec, self._session.get_outputs()))

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return the outputs."""
        feeds = {spec.name: value.astype(spec.dtype) for spec, value in zip(self.inputs, inputs, strict=True)}
        with _as_runtime_error():
            return tuple(map(np.asarray, self._session.run(None, feeds)))

    @staticmethod
    def reals(tensors: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return outputs as they are: nothing is quantized."""
        return tuple(tensors)


def operators(path: Path) -> dict[str, int]:
    """Count the operators of the file by name."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return dict(sorted(Counter(node.op_type for node in graph.node).items()))


def _spec(tensor: Any) -> TensorSpec:
    if tensor.type not in NUMPY_TYPES:
        raise RuntimeError(f"{tensor.name} is a {tensor.type}, which no input or output may be")
    return TensorSpec(name=tensor.name, shape=tuple(map(int, tensor.shape)), dtype=NUMPY_TYPES[tensor.type])


@contextmanager
def _as_runtime_error() -> Iterator[None]:
    """Raise what ONNX Runtime raises, classes of its own that derive from Exception, as RuntimeError."""
    try:
        yield
    except (RuntimeError, ValueError):
        raise
    except Exception as error:
        raise RuntimeError(str(error)) from error
