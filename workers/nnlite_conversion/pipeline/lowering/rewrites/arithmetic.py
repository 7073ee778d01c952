"""Rewrites sums and differences that scale one side, which litert-torch does not lower."""

from typing import Any


def scaled_sum(a: Any, b: Any, *, alpha: float = 1) -> Any:
    """Compute `add(a, b, alpha=)` as a product and a sum."""
    return NotImplemented if alpha == 1 else a + b * alpha


def scaled_difference(a: Any, b: Any, *, alpha: float = 1) -> Any:
    """Compute `sub(a, b, alpha=)`, and `rsub` in the other order, as a product and a difference."""
    return NotImplemented if alpha == 1 else a - b * alpha
