"""Input and output of a conversion: the child's job, its report, and the outcome that the worker collects.

More than 300 lines: a class for each part of them, and a comment for each field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import ModelSpec
from nnlite.errors import FailureClass
from nnlite.vocabulary import ArtifactFormat, Int8Io, ParityState, Precision, Stage, StepState


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """One model and the precisions to convert it to."""

    model: ModelSpec
    #: The file with the model's weights, or with the whole model; None: it has no file.
    model_file: Path | None = None
    precisions: tuple[Precision, ...]
    #: Formats besides `.tflite` to make the network's file in too.
    formats: tuple[ArtifactFormat, ...] = ()
    #: Above this many parameters the model is skipped.
    max_parameters: int
    #: Seed of the input that parity is judged on.
    seed: int = 0
    #: Samples that int8 is calibrated on and that parity is judged on besides the seeded input; None: none.
    calibration: Calibration | None = None
    #: The user's calibration data, in the worker's files; None where the kind needs no data.
    calibration_file: Path | None = None
    #: Why neither samples nor drawn inputs may be run: the network crashed on one. None: it did not.
    no_samples: str | None = None
    #: Types of an int8 artifact's inputs and outputs.
    int8_io: Int8Io = Int8Io.FLOAT
    #: The model's fp32 artifact from the cache; with it nothing is exported and lowered again.
    fp32: "KnownArtifact | None" = None
    #: Height and width where neither dataset nor transform fixes them, pixels.
    variable_size: int = 256
    #: GPU that the network's reference passes run on; None: the CPU.
    gpu: "Gpu | None" = None
    #: What accuracy is measured on, and of which files; None: it is not measured.
    evaluation: "EvaluationInput | None" = None


@dataclass(frozen=True, kw_only=True)
class EvaluationInput:
    """Labelled samples, and the artifacts to run on them."""

    kind: CalibrationKind
    #: Packed by `nnlite.artifacts.evaluation`.
    file: Path
    artifacts: Mapping[Precision, Path]
    #: Samples that are kept for devices, MiB; 0: none.
    kept_mb: int = 0


@dataclass(frozen=True, kw_only=True)
class KnownArtifact:
    """An fp32 artifact of an earlier conversion, to quantize from."""

    path: Path
    rewrites: tuple[str, ...]
    #: As of `ArtifactReport`.
    graph_operators: Mapping[str, int] | None = None
    #: None: not known.
    parity: "Parity | None" = None


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU that was opened in a child once."""

    #: Index or UUID, as CUDA_VISIBLE_DEVICES names it.
    device: str
    #: Model name, as the driver reports it.
    name: str


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a tensor's integers represent real numbers: real = scale * (integer - zero_point)."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    #: The dimension that the scales belong to.
    dimension: int = 0

    @property
    def per_tensor(self) -> tuple[float, int]:
        """Scale and zero point of a tensor that has one of each, as inputs and outputs do."""
        return self.scales[0], self.zero_points[0]


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """An input or an output of an artifact."""

    #: Its name in the artifact's signature, such as `args_0`.
    name: str
    shape: tuple[int, ...]
    #: NumPy name.
    dtype: str
    #: None for tensors that are not quantized.
    quantization: Quantization | None = None
    #: Quantization step of a float output that is a dequantized integer; None if the output is not quantized.
    step: float | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """An output of a network, or a slice of it: what has one index along one axis, or is of one input."""

    output: int
    #: None: the whole output, or one input.
    axis: int | None = None
    index: int | None = None
    #: Number of the input that the slice belongs to; None: all inputs.
    input: int | None = None

    def __str__(self) -> str:
        where = f"output {self.output}"
        if self.input is not None:
            return f"{where}, input {self.input}"
        return where if self.axis is None else f"{where}, axis {self.axis} index {self.index}"


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Difference between an artifact's outputs and PyTorch's on the same inputs.

    Every output is judged by itself, and within an output every slice whose scale is another; the measures
    are those of the worst.
    """

    state: ParityState
    #: Which limit is exceeded, or what could not be compared, and where; None when `ok`.
    reason: str | None = None
    #: Where the measure that the precision has a limit for is worst; None where nothing was compared.
    worst: Place | None = None
    #: Largest absolute difference of two elements of the output or slice with the largest `relative`; None
    #: where nothing finite could be compared.
    max_abs: float | None = None
    #: Largest minus smallest element of it in PyTorch, over all inputs.
    range: float | None = None
    #: `max_abs / range`; `max_abs` where the range is 0.
    relative: float | None = None
    #: Smallest signal-to-quantization-noise ratio: power of PyTorch's output over that of the difference;
    #: None where every output is all zero.
    sqnr_db: float | None = None
    #: Smallest cosine similarity of an output pair; None where one of them is all zero.
    cosine: float | None = None
    #: Whether both rank the same class first for the seeded input; None where the first output is not one row
    #: of scores.
    top1_agrees: bool | None = None
    #: Share of the calibration samples for which they do; of the seeded input where there are no samples.
    top1_agreement: float | None = None
    #: Number of calibration samples compared.
    samples: int = 0
    #: Number of inputs compared: calibration samples, the seeded input and drawn ones.
    inputs: int = 0
    #: Parameters that make the outputs constant, as zero does, and were redrawn: all this is then of another
    #: artifact, with the same operators. Empty: none.
    redrawn: tuple[Annotated[str, Field(max_length=200)], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Accelerated:
    """The GPU that the network's reference passes ran on."""

    gpu: str
    #: Why some or all of them ran on the CPU; None: none did.
    note: str | None


#: Numbers of occurrences by name.
Counts = Mapping[Annotated[str, Field(max_length=200)], Annotated[int, Field(gt=0)]]


@dataclass(frozen=True, kw_only=True)
class ArtifactReport:
    """What a child reports of an artifact; an attribute that a conversion determines is declared here, once.

    The column of the same name in `nnlite.db.tables.Artifact` stores it.
    """

    precision: Precision
    format: ArtifactFormat = ArtifactFormat.TFLITE
    size_bytes: Annotated[int, Field(gt=0)]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    #: None: not known; there is no network to compare a pre-built file with.
    parity: Parity | None
    #: Names of the rewrites that changed the graph, in the order in which they ran.
    rewrites: tuple[Annotated[str, Field(max_length=100)], ...] = ()
    #: Number of times that each operator occurs in the flatbuffer.
    operators: Counts
    #: Number of times that each operator occurs in the network's exported graph, such as `aten.conv2d`;
    #: None: not known, as of a pre-built file.
    graph_operators: Counts | None = None
    #: Number of samples that it was calibrated on; 0: it needs none.
    calibrated_on: Annotated[int, Field(ge=0)] = 0
    #: Operators of an integer artifact's file that compute with floats, because they cannot be quantized or
    #: the precision keeps them, one for each occurrence; stored with the calibration.
    kept_as_floats: tuple[Annotated[str, Field(max_length=100)], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConvertedArtifact(ArtifactReport):
    """An artifact whose files the worker has collected and read."""

    path: Path
    sha256: str
    #: The host's outputs for the seeded input, one raw little-endian file per output tensor.
    reference_outputs: tuple[Path, ...]


#: Failure classes of a precision alone.
RefusingClass = Literal[FailureClass.MODEL, FailureClass.RUNTIME, FailureClass.CONVERTER]


@dataclass(frozen=True, kw_only=True)
class RefusedPrecision:
    """A precision or format that failed to convert; others of the model are unaffected."""

    precision: Precision
    format: ArtifactFormat = ArtifactFormat.TFLITE
    stage: Stage
    reason: str
    #: `runtime` where the host's LiteRT refuses the file or crashes on it, `converter` where the quantizer
    #: crashes or a limit of time or memory is exceeded: then a later campaign tries it again.
    failure_class: RefusingClass = FailureClass.MODEL
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a child reports of a conversion, without its artifacts."""

    refused: tuple[RefusedPrecision, ...] = ()
    #: Which limit the model exceeds, so that it was not converted; None: it was.
    skipped: str | None = None
    parameters: Annotated[int, Field(ge=0)] | None = None
    #: Shape of the first input as the network takes it; images: (N, C, H, W).
    input_shape: tuple[int, ...]
    #: SHA-256 of the weights: provenance, never part of a key.
    state_dict_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    #: Modules that the model's code imports, that are not installed, and that it did not use.
    absent_modules: tuple[Annotated[str, Field(max_length=200)], ...] = ()
    #: None: no GPU was used.
    accelerated: Accelerated | None = None


@dataclass(frozen=True, kw_only=True)
class ConversionOutcome(ConversionReport):
    """The result of a job that did not fail."""

    artifacts: tuple[ConvertedArtifact, ...]
    #: Wall clock of each stage; `quiet` is the time on hold, including the time before the start.
    timings_ns: Mapping[Stage, int] = field(default_factory=dict)
    #: Largest resident memory of the child and its descendants.
    peak_rss_kb: int = 0


@dataclass(frozen=True, kw_only=True)
class ExplainedStep:
    """One operator of a network's graph, compared with the artifact's result for the same input."""

    #: Its place in the graph, from 0.
    index: int
    #: Name of its node, which is unique in the graph.
    name: str
    #: As PyTorch calls it, such as `aten.conv2d`.
    operator: str
    #: Path of the module that calls it; empty: the network itself.
    module: str
    #: File, line and source line of the model's code; None: it is not known.
    line: str | None
    state: StepState
    #: Why the result departs, by the rules of parity; None: it does not.
    reason: str | None = None
    #: The artifact's operator that gives its result; None where it is fused.
    artifact_operator: str | None = None
    #: Name of that result's tensor.
    tensor: str | None = None
    #: Signal-to-quantization-noise ratio of its result, within +-200; None where it is fused.
    sqnr_db: float | None = None
    #: The ratio that it would have on exact inputs: what it loses by itself.
    own_sqnr_db: float | None = None


#: A share of samples.
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How well labelled samples are classified, by a network or an artifact."""

    #: Share of the samples whose class has the highest score.
    top1: Share
    #: Share of those whose class has one of the five highest; None: there are no more than five classes.
    top5: Share | None


@dataclass(frozen=True, kw_only=True)
class ArtifactAccuracy(Accuracy):
    """Accuracy of an artifact."""

    precision: Precision
    #: Share of the samples that it classifies right or PyTorch wrong; None: there is no network.
    no_worse: Share | None
