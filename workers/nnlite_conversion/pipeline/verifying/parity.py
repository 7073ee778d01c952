"""Artifact parity: compares the host's LiteRT outputs with PyTorch's outputs for the same inputs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from nnlite.artifacts.inputs import dequantized, quantized
from nnlite.vocabulary import CALIBRATED, ParityState, Precision
from nnlite_conversion.outcome import Parity, Quantization, TensorSpec
from nnlite_conversion.pipeline.verifying import flatbuffer
from nnlite_conversion.pipeline.verifying.comparison import OutputComparison
from nnlite_conversion.pipeline.verifying.judging import OutputJudge, combined

#: PyTorch's outputs for one input, and the artifact's.
OutputPair = tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]]
#: Smallest share of samples for which an artifact with trained weights ranks the same class first.
MIN_TOP1 = {
    Precision.FP32: 0.99,
    Precision.FP16: 0.99,
    Precision.DYNAMIC: 0.95,
    Precision.INT8: 0.95,
    Precision.MIXED: 0.95,
}


class HostArtifact:
    """An artifact opened on the host, with XNNPACK unless the interpreter's `options` say otherwise.

    Raises:
        RuntimeError, ValueError: the runtime refuses it, here or when it runs.
    """

    def __init__(self, path: Path, threads: int, **options: Any) -> None:
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads, **options)
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
    seeded: OutputPair,
    samples: Iterable[OutputPair] = (),
    *,
    drawn: Iterable[OutputPair] = (),
    steps: Sequence[float | None] = (),
    trained: bool = False,
    beyond: str | None = None,
) -> Parity:
    """Compare an artifact's outputs with PyTorch's, both in the order in which the network returns them.

    An artifact with int8 activations is judged on the calibration samples alone, because noise is no fair
    input for what was calibrated on pictures; others on the seeded and the drawn inputs too. Values that are
    not finite must be equal in both.

    Args:
        precision: the artifact's, for the limits.
        seeded: PyTorch's outputs for the seeded input, and the artifact's as real numbers.
        samples: the same for each calibration sample.
        drawn: the same for further inputs.
        steps: quantization step of each output; None: not quantized.
        trained: the weights are trained, so that the first class is meaningful and has a limit.
        beyond: what is not known about inputs other than those; None: nothing.
    """
    expected, actual = seeded
    shapes = [tuple(tensor.shape) for tensor in expected], [tuple(tensor.shape) for tensor in actual]
    if shapes[0] != shapes[1]:
        reason = f"the artifact returns shapes {shapes[1]}, the model {shapes[0]}"
        return Parity(state=ParityState.OFF, reason=reason)
    outputs = [OutputComparison() for _ in expected]
    agreed = [_top1_agrees(expected[0], actual[0])]
    count = 0
    for count, sample in enumerate(samples, start=1):  # noqa: B007
        agreed.append(_top1_agrees(sample[0][0], sample[1][0]))
        _add(outputs, sample)
    if precision not in CALIBRATED or not count:
        for pair in (seeded, *drawn):
            _add(outputs, pair)
    elif count == 1:
        # One sample alone does not tell whether an output depends on the input.
        for output, tensor in zip(outputs, seeded[0], strict=True):
            output.see(tensor)
    findings = [
        OutputJudge(precision=precision, number=number, output=output, step=step).findings()
        for number, (output, step) in enumerate(zip_longest(outputs, steps[: len(outputs)]))
    ]
    known = [agrees for agrees in agreed[1:] or agreed if agrees is not None]
    agreement = sum(known) / len(known) if known else None
    parity = combined(precision, outputs, findings)
    parity = replace(
        parity, top1_agrees=agreed[0], top1_agreement=agreement, samples=count, inputs=outputs[0].inputs
    )
    if trained and count and agreement is not None and agreement < MIN_TOP1[precision]:
        reason = (
            f"the same class is first for {agreement:.1%} of the samples, limit {MIN_TOP1[precision]:.0%}"
        )
        reason = "; ".join(filter(None, (reason, parity.reason)))
        return replace(parity, state=ParityState.OFF, reason=reason)
    if beyond and parity.state is not ParityState.OFF:
        reason = "; ".join(filter(None, (parity.reason, beyond)))
        return replace(parity, state=ParityState.UNKNOWN, reason=reason)
    return parity


def _add(outputs: Sequence[OutputComparison], pair: OutputPair) -> None:
    for output, expected, actual in zip(outputs, *pair, strict=True):
        output.add(expected, actual)


def _as_input(value: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Convert a value to an input's type: quantize real numbers, and narrow 64-bit indices to 32 bits."""
    if spec.quantization and value.dtype.kind == "f":
        return quantized(value, spec.dtype, *spec.quantization.per_tensor)
    dtype = np.dtype(spec.dtype)
    return value.astype(dtype) if value.dtype.kind == dtype.kind == "i" and dtype.itemsize == 4 else value


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
