"""What a conversion is asked for and what it answers with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnlite.artifacts.calibration import Calibration, Int8Io
from nnlite.catalog.model import ModelSpec
from nnlite.vocabulary import Precision, Stage


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """One model to turn into artifacts."""

    model: ModelSpec
    #: The file with the model's weights, or the whole model; None: it has none.
    model_file: Path | None = None
    precisions: tuple[Precision, ...]
    #: Above this many parameters the model is left out.
    max_parameters: int
    #: Seed of the input that parity is judged on.
    seed: int = 0
    #: What int8 is calibrated and all parity is judged on, besides the seeded input; None: nothing is.
    calibration: Calibration | None = None
    #: The user's calibration data in the worker's files; None where the kind needs none.
    calibration_file: Path | None = None
    #: What an int8 artifact takes and returns.
    int8_io: Int8Io = Int8Io.FLOAT
    #: The model's fp32 artifact, where it is known already: nothing is exported and lowered again.
    fp32: "KnownArtifact | None" = None
    #: Height and width where neither dataset nor transform fixes them, pixels.
    variable_size: int = 256


@dataclass(frozen=True, kw_only=True)
class KnownArtifact:
    """An fp32 artifact of an earlier conversion, to quantize from."""

    path: Path
    rewrites: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a tensor's integers stand for real numbers: real = scale * (integer - zero_point)."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    #: The dimension that the scales go along.
    dimension: int = 0

    @property
    def whole(self) -> tuple[float, int]:
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
    #: How far apart two values of it are that differ in one step of an integer inside the artifact: of
    #: floating outputs that are dequantized integers. None: it is none.
    step: float | None = None


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an artifact's outputs are from PyTorch's on the same input, over all outputs."""

    #: Whether it is within the limit of the artifact's precision.
    ok: bool
    #: Why it is not; None when it is.
    reason: str | None
    #: Largest absolute difference of two elements; None where nothing finite could be compared.
    max_abs: float | None
    #: Largest minus smallest element of PyTorch's output that `max_abs` was found in.
    range: float | None
    #: The output's own `max_abs / range`, the largest of all outputs; `max_abs` where the range is 0.
    relative: float | None
    #: Power of PyTorch's output over that of the difference, the smallest of all outputs; None where one is
    #: all zero. Over the samples, as the next two; for the seeded input where there are none.
    sqnr_db: float | None
    #: Smallest cosine similarity of an output pair; None where one of them is all zero.
    cosine: float | None
    #: Whether both put the same class first; None where the first output is not one row of scores.
    top1_agrees: bool | None
    #: Share of the samples for which they do.
    top1_agreement: float | None
    #: How many calibration samples were compared; 0: only the seeded input was.
    samples: int


@dataclass(frozen=True, kw_only=True)
class Accelerated:
    """The GPU that the network's reference passes ran on."""

    gpu: str
    #: Why some of them, or all, ran on the CPU after all; None: none did.
    note: str | None


@dataclass(frozen=True, kw_only=True)
class ConvertedArtifact:
    """One `.tflite` file in the job's folder, and what is known of it."""

    precision: Precision
    path: Path
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    #: None: not known, there is no network to compare a ready file with.
    parity: Parity | None
    #: Names of the rewrites that changed the graph, in the order in which they ran.
    rewrites: tuple[str, ...]
    #: How often each operator stands in the flatbuffer.
    operators: Mapping[str, int]
    #: The host's outputs for the seeded input, one raw little-endian file per output tensor.
    reference_outputs: tuple[Path, ...]
    #: How many samples it was calibrated on; 0: it needs none.
    calibrated_on: int = 0


@dataclass(frozen=True, kw_only=True)
class RefusedPrecision:
    """A precision that could not be made; the others are none the worse for it."""

    precision: Precision
    stage: Stage
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ConversionOutcome:
    """What became of a job that did not fail."""

    artifacts: tuple[ConvertedArtifact, ...]
    #: Why the model is not to be converted after all; None: it was.
    skipped: str | None
    parameters: int | None
    #: Of the first input as the network takes it; images: (N, C, H, W).
    input_shape: tuple[int, ...]
    output_shapes: tuple[tuple[int, ...], ...]
    #: SHA-256 of the weights: provenance, never part of a key.
    state_dict_sha256: str | None
    #: None: no GPU had a part in it.
    accelerated: Accelerated | None = None
    refused: tuple[RefusedPrecision, ...] = ()
    #: Wall clock of each stage; `quiet` is the time on hold, before the start too, where there was any.
    timings_ns: Mapping[Stage, int] = field(default_factory=dict)
    #: Largest resident memory of the child and what it started.
    peak_rss_kb: int = 0
