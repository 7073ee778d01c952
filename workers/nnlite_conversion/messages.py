"""What a conversion child may say: JSON lines on a pipe, checked on arrival.

The child runs other people's code, which can write to the pipe as well, so
nothing here is believed beyond its form: paths are never taken from it, and
sizes and hashes are read from the files again.
"""

import os
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nnlite.catalog.model import ModelSpec
from nnlite.errors import FailureClass
from nnlite.vocabulary import Precision, Stage
from nnlite_conversion.outcome import Accelerated, Parity, TensorSpec

#: All that a child may send in its life; a segmentation net's report has a few kB.
MAX_BYTES = 4 << 20


class Message(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageStarted(Message):
    """The child enters a stage."""

    kind: Literal["stage"] = "stage"
    stage: Stage


class ArtifactReport(Message):
    """One artifact, whose files' names follow from its precision."""

    precision: Precision
    size_bytes: int = Field(gt=0)
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    #: None: not known, there is no network to compare a ready file with.
    parity: Parity | None
    rewrites: tuple[Annotated[str, Field(max_length=100)], ...] = ()
    operators: dict[Annotated[str, Field(max_length=200)], Annotated[int, Field(gt=0)]]
    calibrated_on: int = Field(0, ge=0)


class RefusalReport(Message):
    """A precision that could not be made."""

    precision: Precision
    stage: Stage
    reason: str
    details: dict[str, Any] = {}


class Report(Message):
    """The child has done all that it was asked for."""

    kind: Literal["report"] = "report"
    artifacts: tuple[ArtifactReport, ...] = ()
    refused: tuple[RefusalReport, ...] = ()
    skipped: str | None = None
    parameters: int | None = Field(None, ge=0)
    input_shape: tuple[int, ...]
    output_shapes: tuple[tuple[int, ...], ...] = ()
    state_dict_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    accelerated: Accelerated | None = None


class Refusal(Message):
    """The child cannot: the stage is the last that it entered."""

    kind: Literal["refusal"] = "refusal"
    failure_class: Literal[FailureClass.MODEL, FailureClass.CONVERTER, FailureClass.INFRASTRUCTURE]
    reason: str
    details: dict[str, Any] = {}


AnyMessage = Annotated[StageStarted | Report | Refusal, Field(discriminator="kind")]
_any_message: TypeAdapter[StageStarted | Report | Refusal] = TypeAdapter(AnyMessage)


def send(descriptor: int, message: Message) -> None:
    """Write one message as one line."""
    line = message.model_dump_json().encode() + b"\n"
    while line:
        line = line[os.write(descriptor, line) :]


def model_file_name(model: ModelSpec) -> str:
    """Return the name of the model's own file in the folder of the child."""
    return f"model{model.weights_suffix or ''}"


def artifact_name(precision: Precision) -> str:
    """Return the name of the artifact's file in the folders of child and job."""
    return f"{precision}.tflite"


def output_name(precision: Precision, index: int) -> str:
    """Return the name of the file with the host's output number `index`."""
    return f"{precision}.output_{index}.bin"


@dataclass(kw_only=True)
class Inbox:
    """The worker's end of the pipe: takes bytes, keeps what they say."""

    descriptor: int
    #: Last stage that the child entered.
    stage: Stage = Stage.LOAD
    answer: Report | Refusal | None = None
    #: What was wrong with the first line that was no message; None: all were.
    garbage: str | None = None
    _pending: bytes = b""
    _received: int = 0
    _open: bool = field(default=True)

    def __post_init__(self) -> None:
        os.set_blocking(self.descriptor, False)

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self._open and self.garbage is None

    def receive(self) -> None:
        """Take what is there without waiting."""
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
            message = _any_message.validate_json(line)
        except ValidationError as error:
            self.garbage = f"{line[:80]!r}: {error.errors()[0]['msg']}"
            return
        if isinstance(message, StageStarted):
            self.stage = message.stage
        elif self.answer is None:
            self.answer = message
