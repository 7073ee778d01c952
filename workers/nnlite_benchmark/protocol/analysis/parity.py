"""Device parity: compares the device's outputs with the host's for the same artifact and input.

The limits are wider than rounding errors and far narrower than the error of a
wrong kernel; no latency is published of a device beyond them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlite.artifacts.inputs import from_raw_bytes
from nnlite.backends import CPU_BACKENDS
from nnlite.reports.schema import Parity
from nnlite.vocabulary import Backend, Precision

Tensor = NDArray[np.generic]

MAX_STEPS: Final = 2
STEPS_RULE: Final = "share of elements more than 2 quantization steps off"
RANGE_RULE: Final = "largest absolute difference / range of the expected output"
SHAPE_RULE: Final = "number, shape and type of the outputs"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A measure of the difference and its limit."""

    name: str
    limit: float


def rule_for(
    precision: Precision, backend: Backend, dtype: np.dtype[np.generic], step: float | None = None
) -> Rule:
    """Return the rule for one output.

    Integer outputs, and floats that are dequantized integers with a known step, are compared in quantization
    steps: if the range has few steps, two percent of it would be less than one. Other outputs of fp16,
    dynamic and int8 artifacts may differ by 2e-2 of the range, because kernels differ in rounding.
    """
    if dtype.kind in "iub" or step:
        return Rule(name=STEPS_RULE, limit=0.01)
    if precision is not Precision.FP32:
        return Rule(name=RANGE_RULE, limit=2e-2)
    return Rule(name=RANGE_RULE, limit=1e-4 if backend in CPU_BACKENDS else 1e-3)


def device_parity(
    expected: list[Tensor],
    outputs: list[Tensor],
    precision: Precision,
    backend: Backend,
    steps: Sequence[float | None] = (),
) -> Parity:
    """Compare the device's outputs with the host's, in order; the worst one counts.

    Args:
        expected: the host's outputs.
        outputs: the device's outputs.
        precision: of the artifact.
        backend: that computed `outputs`.
        steps: quantization steps of outputs that are dequantized integers; may be shorter than the outputs.

    Returns:
        `ok`, and the worst difference with its rule. A difference in number, shape or type, or a NaN or
        infinity on one side only, fails by any rule.
    """
    if [_kind(tensor) for tensor in expected] != [_kind(tensor) for tensor in outputs]:
        return Parity(ok=False, rule=SHAPE_RULE, worst=None, limit=0.0)
    worst = Parity(ok=True, rule=RANGE_RULE, worst=0.0, limit=1e-4)
    worst_share = -1.0
    for reference, output, step in zip(expected, outputs, [*steps, *[None] * len(outputs)], strict=False):
        rule = rule_for(precision, backend, reference.dtype, step)
        error = _difference(reference, output, 1.0 if reference.dtype.kind in "iub" else step)
        share = np.inf if error is None else error / rule.limit
        if share > worst_share:
            worst_share = share
            worst = Parity(
                ok=error is not None and error <= rule.limit, rule=rule.name, worst=error, limit=rule.limit
            )
    return worst


def parity_with_files(
    expected: Sequence[Path],
    outputs: Sequence[Tensor],
    precision: Precision,
    backend: Backend,
    steps: Sequence[float | None] = (),
) -> Parity:
    """Compare outputs with the host's in raw files; arguments as for `device_parity`."""
    mismatch = Parity(ok=False, rule=SHAPE_RULE, worst=None, limit=0.0)
    if len(expected) != len(outputs):
        return mismatch
    try:
        tensors = [
            from_raw_bytes(path.read_bytes(), output.shape, output.dtype.name)
            for path, output in zip(expected, outputs, strict=True)
        ]
    except ValueError:
        return mismatch
    return device_parity(tensors, list(outputs), precision, backend, steps)


def _kind(tensor: Tensor) -> tuple[tuple[int, ...], str]:
    return tensor.shape, tensor.dtype.name


def _difference(reference: Tensor, output: Tensor, step: float | None) -> float | None:
    """Return the rule's difference, by steps if there is one; None: only one side is finite somewhere."""
    wide_reference, wide_output = reference.astype(np.float64), output.astype(np.float64)
    if step:
        # Half a step more than allowed: dequantized values are rounded.
        off = np.abs(wide_reference - wide_output) > (MAX_STEPS + 0.5) * step
        return float(np.mean(off | ~np.isfinite(wide_output))) if reference.size else 0.0
    finite = np.isfinite(wide_reference)
    if not np.array_equal(finite, np.isfinite(wide_output)):
        return None
    if not np.array_equal(wide_reference[~finite], wide_output[~finite], equal_nan=True):
        return None
    if not finite.any():
        return 0.0
    span = float(np.ptp(wide_reference[finite]))
    largest = float(np.max(np.abs(wide_reference[finite] - wide_output[finite])))
    return largest / span if span else largest
