"""Words of options: an option that takes several may be repeated, or name them with commas."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from nnlite.errors import UsageError

W = TypeVar("W", bound=StrEnum)


def words(values: Sequence[str] | None) -> list[str]:
    """Return what the values of an option name, each one or several with commas."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def chosen(known: type[W], option: str, values: Sequence[str] | None) -> tuple[W, ...]:
    """Return the members of `known` that the values of `option` name, each once.

    Raises:
        UsageError: one is no member; the message lists them.
    """
    named = words(values)
    if unknown := next((word for word in named if word not in set(known)), None):
        raise UsageError(f"{option} {unknown!r} is none of {', '.join(known)}")
    return tuple(dict.fromkeys(map(known, named)))
