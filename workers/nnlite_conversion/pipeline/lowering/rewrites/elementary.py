"""Rewrites operators of single elements that litert-torch does not lower, and sums that scale one side."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch


def scaled_sum(a: Any, b: Any, *, alpha: float = 1) -> Any:
    """Compute `add(a, b, alpha=)` as a product and a sum."""
    return NotImplemented if alpha == 1 else a + b * alpha


def scaled_difference(a: Any, b: Any, *, alpha: float = 1) -> Any:
    """Compute `sub(a, b, alpha=)`, and `rsub` in the other order, as a product and a difference."""
    return NotImplemented if alpha == 1 else a - b * alpha


def power_of_two(x: torch.Tensor) -> torch.Tensor:
    """Compute `exp2`."""
    return torch.exp(x * math.log(2))


def complementary_error(x: torch.Tensor) -> torch.Tensor:
    """Compute `erfc`."""
    return 1 - torch.erf(x)


def larger_number(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compute `fmax`: NaN counts only where both are."""
    return torch.where(a.isnan(), b, torch.where(b.isnan(), a, torch.maximum(a, b)))


def smaller_number(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compute `fmin`: NaN counts only where both are."""
    return torch.where(a.isnan(), b, torch.where(b.isnan(), a, torch.minimum(a, b)))


def hypotenuse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compute `hypot`."""
    return torch.sqrt(a * a + b * b)


def sign_bit(x: torch.Tensor) -> torch.Tensor:
    """Compute `signbit`, which tells the two zeros apart."""
    return torch.where(x == 0, 1 / x < 0, x < 0) if x.dtype.is_floating_point else x < 0


def with_sign_of(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compute `copysign`."""
    return torch.where(sign_bit(b), -a.abs(), a.abs())


def exclusive_or(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compute `logical_xor`."""
    a, b = (each if each.dtype is torch.bool else each != 0 for each in (a, b))
    return (a & ~b) | (~a & b)


def distance(a: torch.Tensor, b: torch.Tensor, p: float = 2) -> torch.Tensor:
    """Compute `dist`, a norm of the difference."""
    return torch.linalg.vector_norm(a - b, ord=p)


def leaky_relu_of_mean_slope(  # noqa: PLR0917  (the parameters of the operator)
    x: torch.Tensor,
    noise: torch.Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Any:
    """Compute `rrelu` as it is after training; during training it is random."""
    if training:
        return NotImplemented
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2), noise


#: Coefficients of M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), highest power
#: first: of w - 2.5 for w < 5, and of sqrt(w) - 3 otherwise, where w = -log((1 - x)(1 + x)).
_CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def inverse_error(x: torch.Tensor) -> torch.Tensor:
    """Compute `erfinv` in single precision."""
    w = -torch.log((1 - x) * (1 + x))
    central, tail = _polynomial(_CENTRAL, w - 2.5), _polynomial(_TAIL, torch.sqrt(w.clamp(min=5)) - 3)
    ends = torch.where(x > 0, math.inf, -math.inf)
    return torch.where(x.abs() == 1, ends, torch.where(w < 5, central, tail) * x)


def _polynomial(coefficients: Sequence[float], x: torch.Tensor) -> torch.Tensor:
    return reduce(lambda value, coefficient: value * x + coefficient, coefficients, torch.zeros_like(x))


def negative(x: torch.Tensor) -> torch.Tensor:
    """Compute `_neg_view`, as the imaginary part of a conjugate is."""
    return -x


def without_assertion(*_: Any) -> None:
    """Drop an assertion about values: an artifact cannot raise."""
