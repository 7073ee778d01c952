"""ONNX Runtime on a host's CPU: a `Session`.

Inputs and outputs are bound to memory once, so that a run copies nothing, as with LiteRT.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from nnlite.artifacts.onnx_types import NUMPY_TYPES
from nnlite_benchmark.host.sessions import (
    REJECTING,
    OutputTensor,
    Refused,
    SessionRequest,
    accepted,
    read_input,
)

#: By which the runtime rejects an artifact: classes of its own that derive from Exception alone.
_ERRORS: Final[tuple[type[Exception], ...]] = (
    *REJECTING,
    *(each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception)),
)


def open_session(asked: SessionRequest) -> "OnnxSession":
    """Return the session for an artifact; nothing is read yet."""
    return OnnxSession(asked.artifact, asked.threads)


class OnnxSession:
    """An `.onnx` file in ONNX Runtime, on its CPU provider."""

    version = None

    def __init__(self, artifact: str, threads: int) -> None:
        self._artifact, self._threads = artifact, threads
        self._session: Any = None
        self._binding: Any = None

    def load(self) -> None:
        """See `Session`."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = accepted(
            lambda: onnxruntime.InferenceSession(self._artifact, options, providers=["CPUExecutionProvider"]),
            _ERRORS,
        )

    def prepare(self) -> None:
        """See `Session`."""
        self._binding = self._session.io_binding()
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)

    def fill(self, inputs: Sequence[str], sample: int = 0, samples: int = 1) -> None:
        """See `Session`."""
        wanted = self._session.get_inputs()
        if len(wanted) != len(inputs):
            raise Refused(f"the artifact has {len(wanted)} inputs, {len(inputs)} were given")
        for each, file in zip(wanted, inputs, strict=True):
            sizes = _sizes(each.name, each.shape)
            value = read_input(each.name, file, _dtype(each.type), sizes, sample=sample, samples=samples)
            accepted(partial(self._binding.bind_cpu_input, each.name, value), _ERRORS)

    @property
    def invoke(self) -> Callable[[], object]:
        """See `Session`."""
        return partial(self._run, self._session.run_with_iobinding, self._binding)

    @staticmethod
    def _run(run: Callable[[Any], None], binding: Any) -> None:
        try:
            run(binding)
        except _ERRORS as error:
            raise RuntimeError(str(error)) from error

    def delegation(self) -> None:
        """Return None: its CPU provider executes every node."""

    def refusals(self) -> list[dict[str, Any]]:
        """Return none: there is no delegate."""
        return []

    def outputs(self) -> Iterator[OutputTensor]:
        """See `Session`."""
        values = accepted(self._binding.copy_outputs_to_cpu, _ERRORS)
        for output, value in zip(self._session.get_outputs(), values, strict=True):
            yield OutputTensor(output.name, value)


def _sizes(name: str, shape: Sequence[object]) -> tuple[int, ...]:
    """Return the sizes of an input; one that the file leaves open is a name or None."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    if len(sizes) != len(shape):
        raise Refused(f"input {name} has no fixed shape: {list(shape)}; export it with fixed sizes")
    return sizes


def _dtype(name: str) -> str:
    if name not in NUMPY_TYPES:
        raise Refused(f"inputs of type {name} are not supported")
    return NUMPY_TYPES[name]
