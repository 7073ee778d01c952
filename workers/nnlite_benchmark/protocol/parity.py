"""Device parity: does the device compute what the host computes with the same artifact and input?

The limits are those of the contracts. They are wider than rounding and far
narrower than a wrong kernel; a device beyond them gives no latency.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

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

    Integer outputs, and floats that are dequantized integers with a known step, are compared in
    quantization steps: of few of them, two percent of the range would be less than one. All else computed or
    stored with less than fp32 (fp16, dynamic and int8 artifacts with float
    outputs) may differ by 2e-2 of the range: kernels differ in rounding.
    """
    if dtype.kind in "iub" or step:
        return Rule(name=STEPS_RULE, limit=0.01)
    if precision is not Precision.FP32:
        return Rule(name=RANGE_RULE, limit=2e-2)
    return Rule(name=RANGE_RULE, limit=1e-4 if backend is Backend.CPU else 1e-3)


def device_parity(
    expected: list[Tensor],
    outputs: list[Tensor],
    precision: Precision,
    backend: Backend,
    steps: Sequence[float | None] = (),
) -> Parity:
    """Compare the device's outputs with the host's, in order; the worst of them counts.

    Args:
        steps: of outputs that are dequantized integers; may be shorter than the outputs.

    Returns:
        `ok`, and the worst measure with its rule. A difference in number, shape
        or type, or a NaN or infinity that only one side has, is off by any rule.
    """
    if [_kind(tensor) for tensor in expected] != [_kind(tensor) for tensor in outputs]:
        return Parity(ok=False, rule=SHAPE_RULE, worst=None, limit=0.0)
    worst = Parity(ok=True, rule=RANGE_RULE, worst=0.0, limit=1e-4)
    worst_share = -1.0
    for wanted, got, step in zip(expected, outputs, [*steps, *[None] * len(outputs)], strict=False):
        rule = rule_for(precision, backend, wanted.dtype, step)
        off = _difference(wanted, got, 1.0 if wanted.dtype.kind in "iub" else step)
        share = np.inf if off is None else off / rule.limit
        if share > worst_share:
            worst_share = share
            worst = Parity(
                ok=off is not None and off <= rule.limit, rule=rule.name, worst=off, limit=rule.limit
            )
    return worst


def _kind(tensor: Tensor) -> tuple[tuple[int, ...], str]:
    return tensor.shape, tensor.dtype.name


def _difference(expected: Tensor, got: Tensor, step: float | None) -> float | None:
    """The rule's measure, in steps where there are any; None where one side alone is not finite."""
    wide_expected, wide_got = expected.astype(np.float64), got.astype(np.float64)
    if step:
        # Half a step more than allowed: dequantized values are rounded.
        off = np.abs(wide_expected - wide_got) > (MAX_STEPS + 0.5) * step
        return float(np.mean(off | ~np.isfinite(wide_got))) if expected.size else 0.0
    finite = np.isfinite(wide_expected)
    if not np.array_equal(finite, np.isfinite(wide_got)):
        return None
    if not np.array_equal(wide_expected[~finite], wide_got[~finite], equal_nan=True):
        return None
    if not finite.any():
        return 0.0
    span = float(np.ptp(wide_expected[finite]))
    largest = float(np.max(np.abs(wide_expected[finite] - wide_got[finite])))
    return largest / span if span else largest
