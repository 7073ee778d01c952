"""Messages from a conversion child to its worker: JSON lines on a pipe, validated on arrival.

The child runs other people's code, which can write to the pipe as well. A message is therefore trusted in its
form only: it carries no paths, and sizes and hashes are read from the files again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, with_config

from nnlite.catalog.model import ModelSpec
from nnlite.errors import FailureClass
from nnlite.vocabulary import ArtifactFormat, Precision, Stage
from nnlite_conversion.outcome import (
    Accuracy,
    ArtifactAccuracy,
    ArtifactReport,
    ConversionReport,
    Counts,
    ExplainedStep,
)
from nnlite_conversion.remedies import OperatorProblem

#: Reports to the worker that a stage begins.
Enter = Callable[[Stage], None]

#: Name of the file of an evaluation's samples for devices.
DEVICE_SAMPLES = "device_samples.npz"
#: Most bytes that a child may send; the report of a segmentation network has a few kB.
MAX_BYTES = 4 << 20

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageStarted(BaseModel):
    """The child enters a stage."""

    model_config = _STRICT

    kind: Literal["stage"] = "stage"
    stage: Stage


@with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Report(ConversionReport):
    """The child has finished; the names of the artifacts' files follow from their precisions."""

    kind: Literal["report"] = "report"
    artifacts: tuple[ArtifactReport, ...] = ()


@with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class PrecisionBegun:
    """The child begins one precision of an fp32 file, or runs a pre-built file.

    If it ends in that, `done` is its report of the precisions before.
    """

    kind: Literal["precision"] = "precision"
    precision: Precision
    format: ArtifactFormat = ArtifactFormat.TFLITE
    done: Report
    #: Names of the rewrites of the fp32 file.
    rewrites: tuple[Annotated[str, Field(max_length=100)], ...] = ()
    #: As of `ArtifactReport`.
    graph_operators: Counts | None = None


@with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The child has compared an artifact with its network, operator by operator."""

    precision: Precision
    #: In the order of the graph.
    steps: tuple[ExplainedStep, ...]
    #: Index of the first operator whose result departs; None: every result is right.
    departs: int | None
    #: Names of the rewrites that changed the graph.
    rewrites: tuple[str, ...] = ()
    #: What does not show in an operator, such as a rewrite that changes the result; None: nothing.
    note: str | None = None
    kind: Literal["explanation"] = "explanation"


@with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The child has tried every operator of a network."""

    #: Every problem that was found, in the order of the graph.
    problems: tuple[OperatorProblem, ...] = ()
    #: Number of operators that were tried.
    operators: int = 0
    kind: Literal["preflight"] = "preflight"


@with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The child has measured the accuracy of a network and its artifacts on the same samples."""

    #: How many were run: fewer than there are if the time was up.
    samples: Annotated[int, Field(gt=0)]
    #: Of PyTorch; None: a pre-built file has no network.
    torch: Accuracy | None
    artifacts: tuple[ArtifactAccuracy, ...]
    kind: Literal["evaluation"] = "evaluation"


class Refusal(BaseModel):
    """The child has failed, in the stage that it entered last."""

    model_config = _STRICT

    kind: Literal["refusal"] = "refusal"
    failure_class: Literal[
        FailureClass.MODEL, FailureClass.RUNTIME, FailureClass.CONVERTER, FailureClass.INFRASTRUCTURE
    ]
    reason: str
    details: dict[str, Any] = {}


Answer = Report | Explanation | Preflight | Evaluated | Refusal
Message = StageStarted | PrecisionBegun | Answer
_messages: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def send(descriptor: int, message: Message) -> None:
    """Write one message as one line."""
    line = _messages.dump_json(message) + b"\n"
    while line:
        line = line[os.write(descriptor, line) :]


def model_file_name(model: ModelSpec) -> str:
    """Return the name of the model's own file in the child's folder."""
    return f"model{model.weights_suffix or ''}"


def artifact_name(precision: Precision, artifact_format: ArtifactFormat = ArtifactFormat.TFLITE) -> str:
    """Return the name of an artifact's file, in the child's folder and in the worker's."""
    return f"{precision}.{artifact_format}"


def output_name(
    precision: Precision, index: int, artifact_format: ArtifactFormat = ArtifactFormat.TFLITE
) -> str:
    """Return the name of the file with the host's output number `index` for the seeded input."""
    return f"{artifact_name(precision, artifact_format)}.output_{index}.bin"


@dataclass(kw_only=True)
class Inbox:
    """The worker's end of the pipe: reads messages and keeps the stage and the answer."""

    descriptor: int
    #: Stage that the child entered last.
    stage: Stage = Stage.LOAD
    answer: Answer | None = None
    #: The precision that the child began last; None: none yet.
    begun: PrecisionBegun | None = None
    #: Why the first invalid line was rejected; None: all lines were messages.
    garbage: str | None = None
    _pending: bytes = b""
    _received: int = 0
    _open: bool = field(default=True)

    def __post_init__(self) -> None:
        os.set_blocking(self.descriptor, False)

    @property
    def open(self) -> bool:
        """Whether more messages may arrive."""
        return self._open and self.garbage is None

    def receive(self) -> None:
        """Read all available messages without blocking."""
        while self.open:
            try:
                chunk = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return
            self._open = bool(chunk)
            self._received += len(chunk)
            if self._received > MAX_BYTES:
                self.garbage = f"more than {MAX_BYTES} bytes"
            *lines, self._pending = (self._pending + chunk).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        if self.garbage is not None:
            return
        try:
            message = _messages.validate_json(line)
        except ValidationError as error:
            self.garbage = f"{line[:80]!r}: {error.errors()[0]['msg']}"
            return
        if isinstance(message, StageStarted):
            self.stage = message.stage
        elif isinstance(message, PrecisionBegun):
            self.begun = message
        elif self.answer is None:
            self.answer = message
