"""Nested arguments of operators: tuples, lists, dicts and slices of nodes and numbers."""

from collections.abc import Callable
from typing import Any


def mapped(structure: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Return a copy of `structure` with `function` applied to what is of `kind` in it."""
    if isinstance(structure, kind):
        return function(structure)
    if isinstance(structure, tuple | list):
        parts = [mapped(each, kind, function) for each in structure]
        return tuple(parts) if isinstance(structure, tuple) else parts
    if isinstance(structure, dict):
        return {name: mapped(each, kind, function) for name, each in structure.items()}
    if isinstance(structure, slice):
        return slice(
            *(mapped(each, kind, function) for each in (structure.start, structure.stop, structure.step))
        )
    return structure
