"""Exports networks with an `if` on values of the input: both sides are computed, and their results chosen.

torch.export stops at such a line. For as long as the export takes, the function that contains it is replaced
by one that is compiled from its source with `if mask.any(): y = f(x)` as `y = where(mask.any(), f(x), y)`.
Where that cannot be, the network is refused as without it.
"""

import inspect
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from nnlite_conversion.culprit import causes
from nnlite_conversion.pipeline.lowering import branch_choice
from nnlite_conversion.pipeline.lowering.branch_code import CHOICE, place, with_both
from nnlite_conversion.pipeline.lowering.known_values import KNOWN_VALUES, known_values
from nnlite_conversion.pipeline.lowering.lower import export, has_fixed_sizes
from nnlite_conversion.pipeline.lowering.written_data import without_assigned_data

#: Name of this rewrite, as artifacts record it.
BOTH_BRANCHES = "both_branches"

#: Operators whose results depend on values, though their sizes are fixed.
_BY_VALUE = frozenset(
    {
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.item.default,
        torch.ops.aten.repeat_interleave.Tensor,
        torch.ops.aten.repeat_interleave.self_Tensor,
    }
)
_TORCH = f"{Path(torch.__file__).parent}/"


def export_with_branches(
    module: torch.nn.Module, samples: tuple[torch.Tensor, ...], changing: Collection[str] = ()
) -> tuple[ExportedProgram, tuple[str, ...]]:
    """Trace `module` on `samples` as `lower.export` does, with both branches computed where one stops it.

    Where that fails, as for what is assigned to a tensor's `data`, or a size depends on values, values that
    depend on no input are known in a second trace.

    Args:
        changing: names of buffers that each run changes.

    Returns:
        The graph, and the names of the rewrites that applied.

    Raises:
        Exception: that of torch.export for what cannot be traced; there is no base class.
    """
    failure: Exception | None = None
    try:
        with without_assigned_data():
            found = _with_branches(module, samples)
    except Exception as error:  # noqa: BLE001  (torch.export's errors have no base class)
        failure = error
    if failure is None and not _asks_for_values(found[0]):
        return found
    try:
        known = _with_known_values(module, samples, changing)
    except Exception:
        if failure is not None:
            raise
        known = None  # lowering refuses what `found` asks for, with its line
    if known is not None:
        return known
    if failure is not None:
        raise failure
    return found


def _asks_for_values(program: ExportedProgram) -> bool:
    """Whether a size or a number in the graph depends on values, which lowering refuses."""
    return not has_fixed_sizes(program) or any(node.target in _BY_VALUE for node in program.graph.nodes)


def _with_known_values(
    module: torch.nn.Module, samples: tuple[torch.Tensor, ...], changing: Collection[str]
) -> tuple[ExportedProgram, tuple[str, ...]] | None:
    """Trace `module` with the values of what depends on no input; None: nothing asks for them."""
    with known_values(module, changing) as known:
        try:
            program, names = _with_branches(module, samples)
        except Exception:
            if known.used:
                raise
            return None
    return (program, (*names, KNOWN_VALUES)) if known.used else None


def _with_branches(
    module: torch.nn.Module, samples: tuple[torch.Tensor, ...]
) -> tuple[ExportedProgram, tuple[str, ...]]:
    """Trace `module` with both branches computed where one stops it.

    Raises:
        Exception: that of torch.export for the first branch that cannot be changed.
    """
    lines: dict[FunctionType, set[int]] = {}
    first: Exception | None = None
    while True:
        try:
            with _both_branches(lines):
                return export(module, samples), (BOTH_BRANCHES,) if lines else ()
        except Exception as error:
            by_value = any(isinstance(cause, GuardOnDataDependentSymNode) for cause in causes(error))
            if first is not None and not by_value:
                raise first from (error if isinstance(error, branch_choice.NoChoiceError) else None)
            if not by_value or not _add_branch(error, lines):
                raise
            first = first or error


def _add_branch(error: BaseException, lines: dict[FunctionType, set[int]]) -> bool:
    """Add the branch that stopped an export; return whether there is one that can be changed."""
    for cause in causes(error):
        for frame, number in reversed([*traceback.walk_tb(cause.__traceback__)]):
            if frame.f_code.co_filename.startswith(_TORCH) or (function := _function_of(frame)) is None:
                continue
            numbers = lines.get(function, set())
            if number in numbers:
                return False  # changed already, which did not help
            if with_both(function.__code__, {*numbers, number}) is not None:
                lines[function] = {*numbers, number}
                return True
    return False


def _function_of(frame: FrameType) -> FunctionType | None:
    """Return the function or method that a frame runs; None: its module does not hold it, as of a closure."""
    first, *others = frame.f_code.co_qualname.split(".")
    found: Any = frame.f_globals.get(first)
    for name in others:
        found = vars(found).get(name) if isinstance(found, type) else None
    if isinstance(found, property):
        found = found.fget
    found = inspect.unwrap(found)  # of decorators, static and class methods
    is_it = isinstance(found, FunctionType) and place(found.__code__) == place(frame.f_code)
    return found if is_it else None


@contextmanager
def _both_branches(lines: Mapping[FunctionType, set[int]]) -> Iterator[None]:
    """Let functions compute both branches at these lines inside the block."""
    original = {function: function.__code__ for function in lines}
    try:
        for function, numbers in lines.items():
            function.__globals__[CHOICE] = branch_choice
            function.__code__ = with_both(function.__code__, numbers) or function.__code__
        yield
    finally:
        for function, code in original.items():
            function.__code__ = code
            function.__globals__.pop(CHOICE, None)
