"""Signatures: what identifies an operator and its arguments."""

from collections.abc import Callable, Hashable
from typing import Any

import torch


def signature_of(target: Any) -> Hashable:
    """Return what identifies an operator or a Python function; None: it holds something of its own."""
    if isinstance(target, torch._ops.OpOverload):
        return (target,)
    contents = [cell.cell_contents for cell in getattr(target, "__closure__", None) or ()]
    if not hasattr(target, "__code__") or not all(
        isinstance(each, torch._ops.OpOverload) for each in contents
    ):
        return None
    return (target.__code__, target.__defaults__, *contents)


def key_of(structure: Any, kind: type, key: Callable[[Any], Hashable]) -> Hashable:
    """Return what identifies nested arguments of an operator; `key` gives that of those of `kind`.

    Numbers are told apart that Python takes for equal: 0.0 and -0.0; 1, 1.0 and True.
    """
    if isinstance(structure, kind):
        return key(structure)
    if isinstance(structure, tuple | list):
        return tuple(key_of(each, kind, key) for each in structure)
    if isinstance(structure, dict):
        return tuple((name, key_of(each, kind, key)) for name, each in structure.items())
    if isinstance(structure, int | float | complex):
        return type(structure), repr(structure)
    constant: Hashable = structure
    return constant
