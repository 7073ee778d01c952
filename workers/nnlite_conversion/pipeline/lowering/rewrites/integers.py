"""Rewrites operators of integers that litert-torch does not lower for their type, or lowers wrongly."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from nnlite_conversion.pipeline.lowering.rewrites.elementary import exclusive_or

#: Largest exponent of a power that becomes products.
_MAX_EXPONENT = 8
_BYTES = (torch.int8, torch.uint8)
#: Comparisons by the names of their operators.
COMPARISONS = {each.__name__: each for each in (torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge)}


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


def arange_of_bytes(
    start: float, end: float, step: float = 1, *, dtype: torch.dtype | None = None, **options: Any
) -> torch.Tensor:
    """Compute `arange` of 8-bit integers, of which `eye` is made."""
    if dtype not in _BYTES:
        return NotImplemented
    return torch.arange(start, end, step, dtype=torch.int32, **options).to(dtype)


def comparison_of_bytes(compare: Callable[[Any, Any], torch.Tensor]) -> Callable[[Any, Any], torch.Tensor]:
    """Return the rewrite of a comparison: 8-bit integers are compared as 32-bit ones."""

    def compared_bytes(a: torch.Tensor, b: Any) -> torch.Tensor:
        tensors = [each for each in (a, b) if isinstance(each, torch.Tensor)]
        if isinstance(b, float) or not all(each.dtype in _BYTES for each in tensors):
            return NotImplemented
        return compare(*(each.int() if isinstance(each, torch.Tensor) else each for each in (a, b)))

    return compared_bytes


def complement(x: torch.Tensor) -> torch.Tensor:
    """Compute `bitwise_not` of integers other than 32-bit ones."""
    return -1 - x if x.dtype in {torch.int64, torch.int16, torch.int8} else NotImplemented


def lowest_bits(x: torch.Tensor, mask: int) -> torch.Tensor:
    """Compute `bitwise_and` with a constant whose bits are the lowest ones, as a remainder."""
    if not _are_integers(x) or mask < 0 or mask & (mask + 1):
        return NotImplemented
    return x - _floored(x, mask + 1) * (mask + 1)


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
