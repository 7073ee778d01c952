"""Temporary patches of torch internals that avoid repeated work during decomposition.

The output is byte-identical. No patch changes the operators of a graph. All hold inside the context
`patched_torch` only.
"""

# Without evaluation of annotations, which is what makes `OperatorBase.py_impl` slow.
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

#: Allocations between two runs of the garbage collector, which finds little: graphs are long-lived.
COLLECT_EVERY = 100_000


@contextmanager
def patched_torch() -> Iterator[None]:
    """Apply every patch inside the context, in which no operators may be registered."""
    operators = composite_operators()
    generations = gc.get_threshold()
    with ExitStack() as stack:
        for module in (exported_program, decomp_utils):
            stack.enter_context(mock.patch.object(module, "_collect_all_valid_cia_ops", lambda: operators))
        stack.enter_context(mock.patch.object(OperatorBase, "py_impl", _py_impl))
        stack.enter_context(mock.patch.object(NodeSource, "__deepcopy__", _no_deepcopy, create=True))
        stack.callback(gc.set_threshold, *generations)
        gc.set_threshold(COLLECT_EVERY, *generations[1:])
        yield


def composite_operators() -> set[OperatorBase]:
    """Return the composite operators that an exported graph may keep; the set must not be modified.

    Searches torch's registry again only after operators were registered.
    """
    return _collected(_registered())


def _registered() -> tuple[str, ...]:
    return tuple(torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd"))


@cache
def _collected(registered: tuple[str, ...]) -> set[OperatorBase]:
    return set(export_utils._collect_all_valid_cia_ops())


_original_py_impl = OperatorBase.py_impl


def _py_impl(operator: OperatorBase, key: Any) -> Any:
    """Replacement of `OperatorBase.py_impl` without annotations, which the original evaluates at each call.

    A decomposition calls it for some 6,000 kernels, twice.
    """
    if not isinstance(key, torch._C.DispatchKey) or key == torch._C.DispatchKey.Python:
        return _original_py_impl(operator, key)

    def register(kernel: Callable[..., Any]) -> Callable[..., Any]:
        if key in operator.py_kernels:
            raise RuntimeError(f"Trying to override a python impl for {key} on operator {operator.name()}")
        operator.py_kernels[key] = kernel
        operator._dispatch_cache.clear()
        return kernel

    return register


def _no_deepcopy(source: NodeSource, _: dict[int, Any]) -> NodeSource:
    """Return the object itself instead of a copy: the source of a node never changes."""
    return source
