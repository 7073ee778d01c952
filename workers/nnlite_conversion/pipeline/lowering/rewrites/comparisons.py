"""Limit of rewrites that compare each of many elements with each of many others."""

#: Most comparisons, and so elements of one tensor.
MAX_COMPARISONS = 1 << 26


class TooLarge(NotImplementedError):
    """An operator of more elements than can be compared."""


def require_few(comparisons: int, what: str, remedy: str) -> None:
    """Raise `TooLarge` where there are too many comparisons.

    Args:
        what: what compares them, for the message.
        remedy: what the model's author can do.
    """
    if comparisons > MAX_COMPARISONS:
        raise TooLarge(f"{what} takes {comparisons:,} comparisons (at most {MAX_COMPARISONS:,}); {remedy}")
