"""What a measuring process needs of a runtime of hosts; `nnlite.backends` lists them.

It imports the standard library only; a runtime is imported where it is used.
"""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from nnlite.backends import HOST_RUNTIMES
from nnlite.vocabulary import Backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

Result = TypeVar("Result")

#: By which runtimes reject an artifact.
REJECTING: Final[tuple[type[Exception], ...]] = (ValueError, RuntimeError)


class Refused(Exception):
    """The runtime rejected the artifact or its inputs."""


class OutputTensor(NamedTuple):
    """An output of an artifact, as the runtime returns it."""

    name: str
    value: "NDArray[Any]"
    #: Quantization; None: it is not quantized.
    scale: float | None = None
    zero_point: int | None = None


class SessionRequest(NamedTuple):
    """What a session executes, and how."""

    backend: Backend
    artifact: str
    threads: int
    #: Folder of the app's library, for the backend that it executes; None: it is not set up.
    library: str | None = None


class Session(Protocol):
    """One artifact in one runtime; the calls come in this order. Each raises `Refused`."""

    #: Version of the runtime; None: that of its distribution.
    version: str | None

    def load(self) -> None:
        """Read the artifact."""

    def prepare(self) -> None:
        """Allocate its tensors; after this it is ready."""

    def fill(self, inputs: Sequence[str], sample: int = 0, samples: int = 1) -> None:
        """Set the inputs to one of the samples in raw little-endian files, one file for each input."""

    @property
    def invoke(self) -> Callable[[], object]:
        """A function that runs one inference on these inputs, and copies nothing."""

    def delegation(self) -> dict[str, Any] | None:
        """Return the fields of a report's `Delegation`; None: the runtime has no delegates."""

    def refusals(self) -> list[dict[str, Any]]:
        """Return the fields of a report's `DelegateRefusal` for each operator that the delegate left."""

    def outputs(self) -> Iterator[OutputTensor]:
        """Yield the outputs of the last inference."""


def open_session(asked: SessionRequest) -> Session:
    """Import a backend's runtime and return its session for an artifact; nothing is read yet.

    Raises:
        Refused: the runtime cannot be used here; the reason says how to install it.
    """
    runtime = HOST_RUNTIMES[asked.backend]
    try:
        module = import_module(f"nnlite_benchmark.host.{runtime.session}")
    except ImportError as error:
        raise Refused(f"{runtime.name} cannot be imported here: {error}; {runtime.hint}") from error
    session: Session = module.open_session(asked)
    return session


def accepted(call: Callable[[], Result], errors: tuple[type[Exception], ...] = REJECTING) -> Result:
    """Call the runtime, and return what it returns.

    Args:
        call: into the runtime.
        errors: by which it rejects.

    Raises:
        Refused: it rejects.
    """
    try:
        return call()
    except errors as error:
        raise Refused(str(error) or type(error).__name__) from error


def read_input(
    name: str, file: str, dtype: str, shape: Sequence[int], *, sample: int = 0, samples: int = 1
) -> "NDArray[Any]":
    """Return the value of an input from its raw little-endian file, which has as many samples.

    Raises:
        Refused: the file has another size.
    """
    import numpy as np

    stored = np.dtype(dtype).newbyteorder("<")
    expected = int(np.prod(shape)) * stored.itemsize
    if (given := Path(file).stat().st_size) != expected * samples:
        raise Refused(
            f"input {name} is {stored.name} {tuple(shape)}, {expected * samples} bytes; {given} were given"
        )
    with Path(file).open("rb") as stream:
        stream.seek(sample * expected)
        raw = stream.read(expected)
    return np.frombuffer(raw, stored).reshape(shape).astype(dtype)
