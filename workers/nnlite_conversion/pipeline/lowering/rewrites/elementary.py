"""Rewrites operators of single elements that litert-torch does not lower."""

import math
from typing import Any

import torch


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
