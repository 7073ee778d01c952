"""Decomposition tables as torch applies them, and the composite operators, set up once for all programs."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from unittest import mock

import torch
from torch._export import utils as export_utils
from torch._ops import OperatorBase
from torch._subclasses import fake_impls
from torch.export import decomp_utils, exported_program

#: torch.ops.aten.x.y -> its decomposition.
Table = Mapping[Any, Callable[..., Any]]


@contextmanager
def known_composite_operators() -> Iterator[None]:
    """Let torch search its registry for composite operators once; none may be registered inside the context.

    Each table of decompositions asks for them, which would take a quarter of a conversion.
    """
    operators = composite_operators()
    with (
        mock.patch.object(exported_program, "_collect_all_valid_cia_ops", lambda: operators),
        mock.patch.object(decomp_utils, "_collect_all_valid_cia_ops", lambda: operators),
    ):
        yield


def composite_operators() -> set[OperatorBase]:
    """Return the composite operators that an exported graph may keep; the set must not be modified.

    Searches torch's registry again only after operators were registered.
    """
    return _collected(
        tuple(torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd"))
    )


@cache
def _collected(registered: tuple[str, ...]) -> set[OperatorBase]:
    return set(export_utils._collect_all_valid_cia_ops())


@dataclass(frozen=True, kw_only=True)
class PreparedTable:
    """A decomposition table, split as torch does, with the composite operators' kernels under it."""

    #: Keeps the table's objects alive, whose addresses are the key.
    table: Table
    key: Hashable
    decompositions: Table
    kernels: dict[Any, dict[Any, Any]]
    fake_kernels: dict[Any, Any]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let composite operators behave as the table says, as torch's own context does, but at once."""
        before = {each: each.py_kernels for each in self.kernels}
        with mock.patch.dict(fake_impls.op_implementations_dict, self.fake_kernels):
            try:
                for each, kernels in self.kernels.items():
                    each.py_kernels = kernels
                    each._dispatch_cache.clear()
                yield
            finally:
                for each, kernels in before.items():
                    each.py_kernels = kernels
                    each._dispatch_cache.clear()


_tables: dict[Hashable, PreparedTable] = {}


def prepared_table(table: Table) -> PreparedTable:
    """Return `table`, prepared when it was first used."""
    # Composite operators that are not in the table are kept; a network may register some.
    known = tuple((id(each), _identity(each, function)) for each, function in table.items())
    key = (id(composite_operators()), *known)
    if key not in _tables:
        composite, plain = exported_program._split_decomp_table_to_cia_and_python_decomp(dict(table))
        before = dict(fake_impls.op_implementations_dict)
        with exported_program._override_composite_implicit_decomp(composite):
            kernels = {each: dict(each.py_kernels) for each in composite}
            added = {
                each: kernel
                for each, kernel in fake_impls.op_implementations_dict.items()
                if before.get(each) is not kernel
            }
        _tables[key] = PreparedTable(
            table=table, key=key, decompositions=plain, kernels=kernels, fake_kernels=added
        )
    return _tables[key]


def _identity(operator: Any, function: Any) -> int:
    """Return a number that only the same decomposition has.

    For some composite operators torch makes a function of the same code each time it is asked for a table.
    """
    if isinstance(function, partial) and not function.args and function.keywords == {"kernel": operator}:
        code = function.func.__code__
        return id(function) if function.func.__closure__ else id(code)
    return id(function)
