"""Artifact parity: the host's LiteRT outputs against PyTorch's on the same input."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from nnlite.vocabulary import Precision
from nnlite_conversion.outcome import Parity, Quantization, TensorSpec

#: Largest `max_abs / range` of an artifact that counts as equal to its model.
MAX_RELATIVE = {Precision.FP32: 1e-3, Precision.FP16: 1e-2}


@dataclass(frozen=True, kw_only=True)
class HostRun:
    """One inference of an artifact on the host."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    #: In the artifact's own dtypes, in the order of `outputs`.
    tensors: tuple[NDArray[Any], ...]


def run_on_host(path: Path, samples: Sequence[NDArray[Any]], threads: int) -> HostRun:
    """Run the artifact once with LiteRT and XNNPACK, on one sample for each input in its order.

    Raises:
        RuntimeError, ValueError: the runtime refuses the artifact.
    """
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    names = {detail["index"]: name for name, detail in _signature_details(runner).items()}
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    given = {
        names[detail["index"]]: _as_taken(sample, np.dtype(detail["dtype"]))
        for detail, sample in zip(inputs, samples, strict=True)
    }
    tensors = runner(**given)
    return HostRun(
        inputs=tuple(_spec(names, detail) for detail in inputs),
        outputs=tuple(_spec(names, detail) for detail in outputs),
        tensors=tuple(tensors[names[detail["index"]]] for detail in outputs),
    )


def _as_taken(sample: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return indices in the artifact's own width: the converter makes 32 bits of 64."""
    return sample.astype(dtype) if sample.dtype.kind == dtype.kind == "i" and dtype.itemsize == 4 else sample


def judge(precision: Precision, expected: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]]) -> Parity:
    """Compare an artifact's outputs with PyTorch's, both in the order in which the network returns them.

    Differences are judged relative to the range of the output that they are
    found in, because random weights make some outputs tiny and others huge;
    where the range is 0 they are judged as they are. What is not finite must
    be the same in both and is left out of the comparison.
    """
    shapes = [tuple(tensor.shape) for tensor in expected], [tuple(tensor.shape) for tensor in actual]
    if shapes[0] != shapes[1]:
        return _off(f"the artifact returns shapes {shapes[1]}, the model {shapes[0]}")
    pairs = [
        _compare(e.astype(np.float64), a.astype(np.float64)) for e, a in zip(expected, actual, strict=True)
    ]
    top1 = _top1_agrees(expected[0], actual[0])
    if any(pair is None for pair in pairs):
        return _off("infinities or NaN are not at the same places", top1)
    worst = max((pair for pair in pairs if pair is not None), key=lambda pair: pair.relative)
    limit = MAX_RELATIVE[precision]
    off = worst.relative > limit
    cosines = [pair.cosine for pair in pairs if pair is not None and pair.cosine is not None]
    return Parity(
        ok=not off,
        reason=f"largest difference over range is {worst.relative:.2e}, limit {limit:g}" if off else None,
        max_abs=worst.max_abs,
        range=worst.range,
        relative=worst.relative,
        cosine=min(cosines, default=None),
        top1_agrees=top1,
    )


@dataclass(frozen=True, kw_only=True)
class _Pair:
    max_abs: float
    range: float
    relative: float
    cosine: float | None


def _compare(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> _Pair | None:
    """Return how far two outputs are apart, or None where what is not finite differs."""
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)) or not np.array_equal(
        expected[~finite], actual[~finite], equal_nan=True
    ):
        return None
    expected, actual = expected[finite], actual[finite]
    if not expected.size:
        return _Pair(max_abs=0.0, range=0.0, relative=0.0, cosine=None)
    max_abs = float(np.abs(expected - actual).max())
    spread = float(np.ptp(expected))
    # Scaled first, so that squares of huge outputs stay finite.
    a, b = (vector / (np.abs(vector).max() or 1.0) for vector in (expected, actual))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return _Pair(
        max_abs=max_abs,
        range=spread,
        relative=max_abs / spread if spread else max_abs,
        cosine=float(a @ b) / norms if norms else None,
    )


def _top1_agrees(expected: NDArray[Any], actual: NDArray[Any]) -> bool | None:
    if expected.ndim != 2 or expected.shape[0] != 1 or expected.shape[1] < 2:
        return None
    return bool(expected.argmax() == actual.argmax())


def _off(reason: str, top1_agrees: bool | None = None) -> Parity:
    return Parity(
        ok=False,
        reason=reason,
        max_abs=None,
        range=None,
        relative=None,
        cosine=None,
        top1_agrees=top1_agrees,
    )


def _signature_details(runner: Any) -> dict[str, Any]:
    return {**runner.get_input_details(), **runner.get_output_details()}


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
