"""Rewrites operators of integers that litert-torch does not lower for their type, or lowers wrongly."""

from functools import reduce
from typing import Any

import torch

from nnlite_conversion.pipeline.lowering.rewrites.elementary import exclusive_or

#: Largest exponent of a power that becomes products.
_MAX_EXPONENT = 8


def absolute_of_integers(x: torch.Tensor) -> torch.Tensor:
    """Compute `abs` of 64-bit integers."""
    return torch.maximum(x, -x) if x.dtype is torch.int64 else NotImplemented


def sign_of_integers(x: torch.Tensor) -> torch.Tensor:
    """Compute `sign` of 64-bit integers."""
    return x.clamp(-1, 1) if x.dtype is torch.int64 else NotImplemented


def power_of_integers(x: torch.Tensor, exponent: Any) -> torch.Tensor:
    """Compute `pow` of integers with a small exponent as products."""
    if not _are_integers(x) or not isinstance(exponent, int) or not 0 < exponent <= _MAX_EXPONENT:
        return NotImplemented
    return reduce(torch.mul, [x] * exponent)


def left_shift_as_product(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Compute `<<` by a constant."""
    return x * (1 << bits) if _are_integers(x) else NotImplemented


def right_shift_as_quotient(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Compute `>>` by a constant, which rounds down."""
    return _floored(x, 1 << bits) if _are_integers(x) else NotImplemented


def rounded_quotient(a: Any, b: Any, *, rounding_mode: str | None = None) -> torch.Tensor:
    """Compute `div` that rounds: of floats down, of integers to zero; the converter can do the others."""
    if rounding_mode == "floor" and not _are_integers(a, b):
        return torch.floor(a / b)
    return _truncated(a, b) if rounding_mode == "trunc" and _are_integers(a, b) else NotImplemented


def remainder_of_truncated_quotient(a: Any, b: Any) -> torch.Tensor:
    """Compute `fmod` of integers, whose sign is that of the dividend."""
    return a - b * _truncated(a, b) if _are_integers(a, b) else NotImplemented


def _are_integers(*values: Any) -> bool:
    return all(
        isinstance(value, int)
        if not isinstance(value, torch.Tensor)
        else not (value.is_floating_point() or value.dtype is torch.bool)
        for value in values
    )


def _truncated(a: Any, b: Any) -> torch.Tensor:
    quotient = _floored(_absolute(a), _absolute(b))
    a, b = (each if isinstance(each, torch.Tensor) else torch.full_like(quotient, each) for each in (a, b))
    return torch.where(exclusive_or(a < 0, b < 0), -quotient, quotient)


def _absolute(x: Any) -> Any:
    return torch.maximum(x, -x) if isinstance(x, torch.Tensor) else abs(x)


def _floored(a: Any, b: Any) -> torch.Tensor:
    return torch.div(a, b, rounding_mode="floor")
