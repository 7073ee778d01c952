"""The app's own TensorFlow Lite library on a host's CPU, with XNNPACK as in the app: a `Session`.

`make runtime-check` builds the library with the shim that gives it Android's C library.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnlite.backends import HOST_RUNTIMES
from nnlite.host.tflite_library import TfliteInterpreter, TfliteLibrary
from nnlite.host.tflite_weights import weights_inside
from nnlite_benchmark.host.sessions import OutputTensor, Refused, SessionRequest, accepted, read_input
from nnlite_benchmark.protocol.delegation_log import XNNPACK, logged, over_subgraphs

#: Variable of the shim: the file that it appends Android's log to.
_LOG_VARIABLE = "NNLITE_ANDROID_LOG"


def open_session(asked: SessionRequest) -> "TfliteAppSession":
    """Load the library and return the session for an artifact; raises Refused if it cannot be loaded."""
    runtime = HOST_RUNTIMES[asked.backend]
    if asked.library is None:
        raise Refused(f"{runtime.name} of the app is not set up here; {runtime.hint}")
    try:
        library = TfliteLibrary(Path(asked.library))
    except OSError as error:
        raise Refused(f"{runtime.name} of the app cannot be loaded: {error}; {runtime.hint}") from error
    return TfliteAppSession(library, asked.artifact, asked.threads)


class TfliteAppSession:
    """A `.tflite` file in the app's library."""

    def __init__(self, library: TfliteLibrary, artifact: str, threads: int) -> None:
        # Before `load`, which is timed.
        copy = Path(f"/proc/self/fd/{os.memfd_create('weights_inside')}")
        self._artifact = weights_inside(Path(artifact), copy)
        self._library, self._threads = library, threads
        self.version = library.version
        self._interpreter: Any = None
        self._log = os.memfd_create("android_log")

    def load(self) -> None:
        """See `Session`."""
        with self._logged():
            self._interpreter = accepted(
                lambda: TfliteInterpreter(self._library, self._artifact, self._threads)
            )

    def prepare(self) -> None:
        """See `Session`."""
        with self._logged():
            accepted(self._interpreter.allocate)

    @contextmanager
    def _logged(self) -> Iterator[None]:
        os.environ[_LOG_VARIABLE] = f"/proc/self/fd/{self._log}"
        try:
            yield
        finally:
            del os.environ[_LOG_VARIABLE]  # processes that are started later would take it for a setting

    def fill(self, inputs: Sequence[str], sample: int = 0, samples: int = 1) -> None:
        """See `Session`."""
        wanted = accepted(self._interpreter.inputs)
        if len(wanted) != len(inputs):
            raise Refused(f"the artifact has {len(wanted)} inputs, {len(inputs)} were given")
        values = [
            read_input(each.name, file, each.dtype, each.shape, sample=sample, samples=samples)
            for each, file in zip(wanted, inputs, strict=True)
        ]
        accepted(lambda: self._interpreter.fill([value.tobytes() for value in values]))

    @property
    def invoke(self) -> Callable[[], object]:
        """See `Session`."""
        invoke: Callable[[], object] = self._interpreter.invoke
        return invoke

    def delegation(self) -> dict[str, Any] | None:
        """See `Session`; counted from the library's log. None: XNNPACK took no node."""
        text = os.pread(self._log, os.fstat(self._log).st_size, 0).decode(errors="replace")
        return over_subgraphs([line for line in logged(text) if line["delegate"] == XNNPACK])

    def refusals(self) -> list[dict[str, Any]]:
        """Return none: the library does not list its nodes."""
        return []

    def outputs(self) -> Iterator[OutputTensor]:
        """See `Session`."""
        import numpy as np

        for each in accepted(self._interpreter.outputs):
            value = np.frombuffer(each.data, np.dtype(each.dtype).newbyteorder("<")).reshape(each.shape)
            quantized = (each.scale, each.zero_point) if each.scale else (None, None)
            yield OutputTensor(each.name, value.astype(each.dtype, copy=False), *quantized)
