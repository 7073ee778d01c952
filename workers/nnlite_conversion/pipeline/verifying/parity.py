"""Artifact parity: compares the host's LiteRT outputs with PyTorch's outputs for the same inputs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from nnlite.artifacts.inputs import dequantized, quantized
from nnlite.vocabulary import Precision
from nnlite_conversion.outcome import Parity, Quantization, TensorSpec
from nnlite_conversion.pipeline.verifying import flatbuffer

# Measured on 49 random models of LEMUR with seeded weights (seed 7, 128 samples): fp32 at most 2.3e-6, fp16
# at most 3.6e-4; dynamic 34.7 to 74.7 dB, median 47, and one NaN; int8 12.4 to 50.8 dB, median 35, and two
# that LiteRT refused. An artifact beyond these limits is therefore wrong, not merely coarse.
#: Largest `max_abs / range` of an artifact that counts as equal to its model.
MAX_RELATIVE = {Precision.FP32: 1e-3, Precision.FP16: 1e-2}
#: Smallest signal-to-quantization-noise ratio of an artifact that is quantized to integers, dB.
MIN_SQNR_DB = {Precision.DYNAMIC: 20.0, Precision.INT8: 10.0}
#: Smallest share of samples for which an artifact with trained weights ranks the same class first.
MIN_TOP1 = {Precision.FP32: 0.99, Precision.FP16: 0.99, Precision.DYNAMIC: 0.95, Precision.INT8: 0.95}
#: Represents an infinite ratio: no noise at all.
MAX_SQNR_DB = 200.0


class HostArtifact:
    """An artifact opened with LiteRT and XNNPACK on the host.

    Raises:
        RuntimeError, ValueError: the runtime refuses it, here or when it runs.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        names = _signature_names(self._interpreter)
        self.inputs = tuple(_spec(names, detail) for detail in self._interpreter.get_input_details())
        self.outputs = tuple(
            replace(_spec(names, detail), step=step)
            for detail, step in zip(
                self._interpreter.get_output_details(), flatbuffer.output_steps(path), strict=True
            )
        )

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return the outputs in the artifact's own types; values for integer inputs are quantized first."""
        details = self._interpreter.get_input_details()
        for detail, spec, value in zip(details, self.inputs, inputs, strict=True):
            self._interpreter.set_tensor(detail["index"], _as_input(value, spec))
        self._interpreter.invoke()
        return tuple(
            self._interpreter.get_tensor(detail["index"]) for detail in self._interpreter.get_output_details()
        )

    def reals(self, tensors: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return outputs as real numbers: quantized ones are dequantized."""
        return tuple(
            dequantized(tensor, *spec.quantization.per_tensor)
            if spec.quantization and tensor.dtype.kind in "iu"
            else tensor
            for spec, tensor in zip(self.outputs, tensors, strict=True)
        )


def judge(
    precision: Precision,
    expected: Sequence[NDArray[Any]],
    actual: Sequence[NDArray[Any]],
    samples: Iterable[tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]]] = (),
    *,
    trained: bool = False,
) -> Parity:
    """Compare an artifact's outputs with PyTorch's, both in the order in which the network returns them.

    The largest difference is taken for the seeded input, relative to the range of its output, because random
    weights make some outputs tiny and others huge; where the range is 0 it is absolute. Signal-to-noise
    ratio, cosine and first class are taken over the calibration samples, because noise is no fair input for
    an artifact that was calibrated on pictures; without samples, for the seeded input. Values that are not
    finite must be equal in both and are otherwise ignored.

    Args:
        precision: the artifact's, for the limits.
        expected: PyTorch's outputs for the seeded input.
        actual: the artifact's outputs for it, as real numbers.
        samples: expected and actual outputs for each calibration sample.
        trained: the weights are trained, so that the first class is meaningful and has a limit.
    """
    shapes = [tuple(tensor.shape) for tensor in expected], [tuple(tensor.shape) for tensor in actual]
    if shapes[0] != shapes[1]:
        reason = f"the artifact returns shapes {shapes[1]}, the model {shapes[0]}"
        return Parity(ok=False, reason=reason)
    top1 = _top1_agrees(expected[0], actual[0])
    seeded = _Sums(len(expected))
    pairs = seeded.add(expected, actual)
    sums = _Sums(len(expected))
    for sample in samples:
        sums.add(*sample)
    if any(pair is None for pair in pairs) or sums.mismatch:
        reason = "infinities or NaN are not at the same places"
        return Parity(ok=False, reason=reason, top1_agrees=top1)
    worst = max((pair for pair in pairs if pair is not None), key=lambda pair: pair.relative)
    over = sums if sums.count else seeded
    parity = Parity(
        ok=True,
        max_abs=worst.max_abs,
        range=worst.range,
        relative=worst.relative,
        sqnr_db=over.sqnr_db(),
        cosine=over.cosine(),
        top1_agrees=top1,
        top1_agreement=over.top1_agreement(),
        samples=sums.count,
    )
    exceeded = _exceeded_limit(precision, parity, trained=trained)
    return replace(parity, ok=exceeded is None, reason=exceeded)


def _exceeded_limit(precision: Precision, parity: Parity, *, trained: bool) -> str | None:
    limit = MAX_RELATIVE.get(precision)
    if limit is not None and parity.relative is not None and parity.relative > limit:
        return f"largest difference over range is {parity.relative:.2e}, limit {limit:g}"
    least = MIN_SQNR_DB.get(precision)
    if least is not None and parity.sqnr_db is not None and parity.sqnr_db < least:
        return f"signal to quantization noise is {parity.sqnr_db:.1f} dB, limit {least:g} dB"
    agreement = parity.top1_agreement
    if trained and parity.samples and agreement is not None and agreement < MIN_TOP1[precision]:
        return f"the same class is first for {agreement:.1%} of the samples, limit {MIN_TOP1[precision]:.0%}"
    return None


def _as_input(value: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Convert a value to an input's type: quantize real numbers, and narrow 64-bit indices to 32 bits."""
    if spec.quantization and value.dtype.kind == "f":
        return quantized(value, spec.dtype, *spec.quantization.per_tensor)
    dtype = np.dtype(spec.dtype)
    return value.astype(dtype) if value.dtype.kind == dtype.kind == "i" and dtype.itemsize == 4 else value


class _Sums:
    """Sums over samples that the measures of parity are computed from, one per output."""

    def __init__(self, outputs: int) -> None:
        self.count = 0
        self.mismatch = False
        self._signal, self._noise, self._dot, self._actual = (np.zeros(outputs) for _ in range(4))
        self._agreed: list[bool] = []

    def add(self, expected: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]]) -> list["_Pair | None"]:
        """Add a sample; return each output's difference, None where non-finite values differ."""
        self.count += 1
        agrees = _top1_agrees(expected[0], actual[0])
        if agrees is not None:
            self._agreed.append(agrees)
        pairs = []
        for number, (e, a) in enumerate(zip(expected, actual, strict=True)):
            both = _finite(e, a)
            pairs.append(None if both is None else _pair(*both))
            if both is None:
                self.mismatch = True
                continue
            wanted, got = both
            self._signal[number] += wanted @ wanted
            self._noise[number] += (wanted - got) @ (wanted - got)
            self._dot[number] += wanted @ got
            self._actual[number] += got @ got
        return pairs

    def sqnr_db(self) -> float | None:
        """Return the smallest ratio of all outputs; None where an output is all zero."""
        if not np.all(np.isfinite(self._signal) & np.isfinite(self._noise)) or not self._signal.all():
            return None
        with np.errstate(divide="ignore"):
            decibels = 10 * np.log10(self._signal / self._noise)
        return float(min(decibels.min(), MAX_SQNR_DB))

    def cosine(self) -> float | None:
        """Return the smallest similarity of all outputs; None where every output is all zero."""
        norms = np.sqrt(self._signal) * np.sqrt(self._actual)
        known = (norms > 0) & np.isfinite(norms)
        return float((self._dot[known] / norms[known]).min()) if known.any() else None

    def top1_agreement(self) -> float | None:
        return sum(self._agreed) / len(self._agreed) if self._agreed else None


class _Pair(NamedTuple):
    max_abs: float
    range: float
    relative: float


def _finite(
    expected: NDArray[Any], actual: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the finite elements of both, flattened, or None where non-finite values differ."""
    wanted, got = expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(got)) or not np.array_equal(
        wanted[~finite], got[~finite], equal_nan=True
    ):
        return None
    return wanted[finite], got[finite]


def _pair(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> _Pair:
    if not expected.size:
        return _Pair(max_abs=0.0, range=0.0, relative=0.0)
    max_abs, spread = float(np.abs(expected - actual).max()), float(np.ptp(expected))
    return _Pair(max_abs=max_abs, range=spread, relative=max_abs / spread if spread else max_abs)


def _top1_agrees(expected: NDArray[Any], actual: NDArray[Any]) -> bool | None:
    if expected.ndim != 2 or expected.shape[0] != 1 or expected.shape[1] < 2:
        return None
    return bool(expected.argmax() == actual.argmax())


def _signature_names(interpreter: Any) -> dict[int, str]:
    """Return the names of inputs and outputs by tensor index, if the file has exactly one signature."""
    if len(interpreter.get_signature_list()) != 1:
        return {}
    runner = interpreter.get_signature_runner()
    details = (*runner.get_input_details().items(), *runner.get_output_details().items())
    return {detail["index"]: name for name, detail in details}


def _spec(names: dict[int, str], detail: dict[str, Any]) -> TensorSpec:
    parameters = detail["quantization_parameters"]
    quantization = None
    if len(parameters["scales"]):
        quantization = Quantization(
            scales=tuple(map(float, parameters["scales"])),
            zero_points=tuple(map(int, parameters["zero_points"])),
            dimension=int(parameters["quantized_dimension"]),
        )
    return TensorSpec(
        name=names.get(detail["index"], detail["name"]),
        shape=tuple(map(int, detail["shape"])),
        dtype=np.dtype(detail["dtype"]).name,
        quantization=quantization,
    )
