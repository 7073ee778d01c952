"""Rewrites operators of integers that litert-torch does not lower for their type, or lowers wrongly."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from nnlite_conversion.pipeline.lowering.rewrites.elementary import exclusive_or

#: Largest exponent of a power that becomes products.
_MAX_EXPONENT = 8
_HALF = 1 << 16
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


def common_bits(a: torch.Tensor, b: Any) -> torch.Tensor:
    """Compute `bitwise_and` of integers; with a constant whose bits are the lowest ones, as a remainder."""
    if not _are_integers(a, b):
        return NotImplemented
    if isinstance(b, int) and b >= 0 and not b & (b + 1):
        return a - _floored(a, b + 1) * (b + 1)
    return _of_32_bits(_common_bits, a, b)


def any_bits(a: torch.Tensor, b: Any) -> torch.Tensor:
    """Compute `bitwise_or` of integers."""
    if not _are_integers(a, b):
        return NotImplemented
    return _of_32_bits(lambda a, b: torch.bitwise_xor(a, b) + _common_bits(a, b), a, b)


def differing_bits(a: torch.Tensor, b: Any) -> torch.Tensor:
    """Compute `bitwise_xor` of booleans, and of 64-bit integers."""
    if _are_integers(a, b):
        wide = torch.result_type(a, b) is torch.int64
        return _of_32_bits(torch.bitwise_xor, a, b) if wide else NotImplemented
    return (
        exclusive_or(a, b)
        if isinstance(b, torch.Tensor) and a.dtype is b.dtype is torch.bool
        else NotImplemented
    )


#: Rewrites of operators on bits, by the names of these.
BITWISE = {"bitwise_and": common_bits, "bitwise_or": any_bits, "bitwise_xor": differing_bits}


def rounded_quotient(a: Any, b: Any, *, rounding_mode: str | None = None) -> torch.Tensor:
    """Compute `div` that rounds: of floats down, of integers to zero; the converter can do the others."""
    if rounding_mode == "floor" and not _are_integers(a, b):
        return _floored_quotient_of_floats(a, b)
    return _truncated(a, b) if rounding_mode == "trunc" and _are_integers(a, b) else NotImplemented


def remainder_of_truncated_quotient(a: Any, b: Any) -> torch.Tensor:
    """Compute `fmod`, whose sign is that of the dividend."""
    if _are_integers(a, b):
        return a - b * _truncated(a, b)
    magnitude = torch.remainder(a.abs(), abs(b))
    return torch.where(a < 0, -magnitude, magnitude)


def _floored_quotient_of_floats(a: Any, b: Any) -> torch.Tensor:
    """Compute it from the remainder, as PyTorch does: a quotient may be rounded to the next integer."""
    quotient = torch.round((a - torch.remainder(a, b)) / b)
    if isinstance(b, torch.Tensor):
        return torch.where(b == 0, a / b, quotient)
    return quotient if b else a / b


def _are_integers(*values: Any) -> bool:
    return all(
        isinstance(value, int)
        if not isinstance(value, torch.Tensor)
        else not (value.is_floating_point() or value.dtype is torch.bool)
        for value in values
    )


def _of_32_bits(
    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], a: torch.Tensor, b: Any
) -> torch.Tensor:
    """Compute something of integers of any type as of 32-bit ones, which the artifact has."""
    narrow = a.int()
    other = b.int() if isinstance(b, torch.Tensor) else torch.full_like(narrow, b)
    return compute(narrow, other).to(torch.result_type(a, b))


def _common_bits(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the bits that both have: what a sum carries, in halves, which have room for it."""
    highs = [_floored(each, _HALF) for each in (a, b)]
    lows = [each - high * _HALF for each, high in zip((a, b), highs, strict=True)]
    high, low = (_floored(u + v - torch.bitwise_xor(u, v), 2) for u, v in (highs, lows))
    return high * _HALF + low


def _truncated(a: Any, b: Any) -> torch.Tensor:
    """Return the quotient rounded to zero, without magnitudes: the smallest integer has none."""
    quotient = _floored(a, b)
    a, b = (each if isinstance(each, torch.Tensor) else torch.full_like(quotient, each) for each in (a, b))
    rounded = torch.logical_and(exclusive_or(a < 0, b < 0), quotient * b != a)
    return torch.where(rounded, quotient + 1, quotient)


def _floored(a: Any, b: Any) -> torch.Tensor:
    return torch.div(a, b, rounding_mode="floor")
