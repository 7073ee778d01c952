"""What torch's decompositions do over and over, done once: the same results, found sooner.

Nothing here changes which operators a graph is made of; artifacts are equal
byte for byte with it and without. Each shortcut holds inside its context only.
"""

# Annotations are not evaluated: evaluating them is what makes `OperatorBase.py_impl` slow.
from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch._export import utils as export_utils
from torch._ops import OperatorBase
from torch.export import decomp_utils, exported_program
from torch.fx.traceback import NodeSource

#: Allocations between two runs of the garbage collector: graphs are long-lived, there is little to find.
COLLECT_EVERY = 100_000


@contextmanager
def shortcuts() -> Iterator[None]:
    """Hold every shortcut for a context in which nobody registers operators."""
    known = composite_operators()
    generations = gc.get_threshold()
    with ExitStack() as stack:
        for module in (exported_program, decomp_utils):
            stack.enter_context(mock.patch.object(module, "_collect_all_valid_cia_ops", lambda: known))
        stack.enter_context(mock.patch.object(OperatorBase, "py_impl", _py_impl))
        stack.enter_context(mock.patch.object(NodeSource, "__deepcopy__", _itself, create=True))
        stack.callback(gc.set_threshold, *generations)
        gc.set_threshold(COLLECT_EVERY, *generations[1:])
        yield


def composite_operators() -> set[OperatorBase]:
    """Return the composite operators that an exported graph may keep whole; not to be modified.

    Looks through torch's registry only if operators were registered since it last did.
    """
    return _collected(_registered())


def _registered() -> tuple[str, ...]:
    return tuple(torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd"))


@cache
def _collected(registered: tuple[str, ...]) -> set[OperatorBase]:
    return set(export_utils._collect_all_valid_cia_ops())


_thorough_py_impl = OperatorBase.py_impl


def _py_impl(operator: OperatorBase, key: Any) -> Any:
    """Do what `OperatorBase.py_impl` does, without its annotations, which it evaluates at each call.

    A decomposition overrides some 6,000 kernels, twice.
    """
    if not isinstance(key, torch._C.DispatchKey) or key == torch._C.DispatchKey.Python:
        return _thorough_py_impl(operator, key)

    def register(kernel: Callable[..., Any]) -> Callable[..., Any]:
        if key in operator.py_kernels:
            raise RuntimeError(f"Trying to override a python impl for {key} on operator {operator.name()}")
        operator.py_kernels[key] = kernel
        operator._dispatch_cache.clear()
        return kernel

    return register


def _itself(source: NodeSource, _: dict[int, Any]) -> NodeSource:
    """Stand for a copy: where a node came from is written once and never changed."""
    return source
