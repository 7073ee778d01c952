"""ExecuTorch on a host's CPU, with XNNPACK as its artifacts say: a `Session`.

Its binding takes PyTorch's tensors, so that PyTorch is imported too. Its public modules would import the
exporter as well, which takes seconds.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from executorch.extension.pybindings import _C as runtime

from nnlite.artifacts.executorch import NUMPY_TYPES
from nnlite_benchmark.host.sessions import OutputTensor, Refused, SessionRequest, accepted, read_input


def open_session(asked: SessionRequest) -> "ExecutorchSession":
    """Return the session for an artifact; nothing is read yet."""
    return ExecutorchSession(asked.artifact, asked.threads)


class ExecutorchSession:
    """A `.pte` file in ExecuTorch."""

    version = None

    def __init__(self, artifact: str, threads: int) -> None:
        self._artifact, self._threads = artifact, threads
        self._program: Any = None
        self._method: Any = None
        #: Read by each inference.
        self._inputs: list[torch.Tensor] = []

    def load(self) -> None:
        """See `Session`."""
        runtime._unsafe_reset_threadpool(self._threads)
        checks = runtime.Verification.InternalConsistency
        self._program = accepted(lambda: runtime._load_program(self._artifact, program_verification=checks))

    def prepare(self) -> None:
        """See `Session`."""
        self._method = accepted(lambda: self._program.load_method("forward"))

    def fill(self, inputs: Sequence[str], sample: int = 0, samples: int = 1) -> None:
        """See `Session`."""
        known = self._method.method_meta()
        if known.num_inputs() != len(inputs):
            raise Refused(f"the artifact has {known.num_inputs()} inputs, {len(inputs)} were given")
        self._inputs = []
        for index, file in enumerate(inputs):
            tensor = known.input_tensor_meta(index)
            if tensor.is_memory_planned():
                raise Refused(f"a run overwrites input {index}; export it with alloc_graph_input=False")
            name, sizes = f"args_{index}", tuple(map(int, tensor.sizes()))
            value = read_input(name, file, _dtype(tensor), sizes, sample=sample, samples=samples)
            self._inputs.append(torch.from_numpy(value))
        accepted(lambda: self._method.set_inputs(self._inputs))

    @property
    def invoke(self) -> Callable[[], object]:
        """See `Session`."""
        invoke: Callable[[], object] = self._method.execute
        return invoke

    def delegation(self) -> None:
        """Return None: an artifact does not say how many of the network's nodes XNNPACK takes."""

    def refusals(self) -> list[dict[str, Any]]:
        """Return none: what XNNPACK does not take are operators of the artifact."""
        return []

    def outputs(self) -> Iterator[OutputTensor]:
        """See `Session`."""
        for index, output in enumerate(accepted(lambda: self._method.get_outputs(clone_outputs=True))):
            if not isinstance(output, torch.Tensor):
                raise Refused(f"output {index} is a {type(output).__name__}, which is no tensor")
            yield OutputTensor(f"output_{index}", output.contiguous().numpy())


def _dtype(tensor: Any) -> str:
    if tensor.dtype() not in NUMPY_TYPES:
        raise Refused(f"inputs of type {tensor.dtype()} are not supported")
    return NUMPY_TYPES[tensor.dtype()]
