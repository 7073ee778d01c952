"""Exports a network past what cannot be traced, so that what comes after it can be examined as well.

What a call of the model's code gives that cannot be traced, or has no fixed size, is replaced by what it gave
in an ordinary run on the same input: a number, or zeros of that shape. The graph that results is not the
network's: only its operators and their lines are looked at.
"""

import linecache
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from nnlite_conversion.culprit import Culprit, call_in, causes, code_line

#: Where a call comes from, file and line, and the name of its function.
Place = tuple[str, int, str]

_TORCH = f"{Path(torch.__file__).parent}/"
_OWN = f"{Path(__file__).parents[2]}/"
#: What Python asks a tensor for a number by.
_NUMBERS = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__")


class Replaced(NamedTuple):
    """A call whose result was replaced."""

    culprit: Culprit
    #: That it raised; None: its result has no fixed size.
    error: Exception | None
    is_branch: bool


class Recording(TorchFunctionMode):  # type: ignore[misc]
    """Keeps what each call of the model's code gives, without the values of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.results: dict[Place, list[Any]] = defaultdict(list)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call and record."""
        result = func(*args, **(kwargs or {}))
        self.results[_place(func)].append(pytree.tree_map_only(torch.Tensor, _without_values, result))
        return result


class StandIns(TorchFunctionMode):  # type: ignore[misc]
    """Puts what was recorded in the place of results that cannot be traced; keeps which.

    Args:
        results: of `Recording`.
        branches: lines whose branches on values are taken as they were; others stop the export.
    """

    def __init__(self, results: Mapping[Place, list[Any]], branches: Iterable[tuple[str, int]]) -> None:
        super().__init__()
        self._results, self._branches = results, set(branches)
        self._calls: Counter[Place] = Counter()
        self.replaced: list[Replaced] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call, and replace the result where it cannot be used."""
        place = _place(func)
        number, recorded = self._calls[place], self._results.get(place)
        self._calls[place] += 1
        error = None
        try:
            result = func(*args, **(kwargs or {}))
            if not any(map(_is_open, pytree.tree_leaves(result))):
                return result
        except Exception as raised:
            is_branch = func is torch.Tensor.__bool__ and place[:2] not in self._branches
            if recorded is None or is_branch:
                raise
            error = raised
        if recorded is None:
            return result
        self.replaced.append(Replaced(_culprit(place), error, func is torch.Tensor.__bool__))
        return _made(recorded[min(number, len(recorded) - 1)])


def branch_of(error: BaseException) -> tuple[str, int] | None:
    """Return file and line of the branch on values that has stopped an export; None: something else has."""
    for cause in causes(error):
        for frame, number in reversed([*traceback.walk_tb(cause.__traceback__)]):
            file = frame.f_code.co_filename
            if isinstance(cause, GuardOnDataDependentSymNode) and not _is_tool(file):
                return file, number
    return None


def drop_unused(graph: torch.fx.Graph) -> None:
    """Remove the calls whose results are not used, as of those that were replaced; passes would run them."""
    for node in reversed(graph.nodes):
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and not node.users and not (schema is not None and schema.is_mutable):
            graph.erase_node(node)


class Behind(torch.nn.Module):  # type: ignore[misc]
    """Runs a network with a mode active."""

    def __init__(self, network: torch.nn.Module, mode: TorchFunctionMode) -> None:
        super().__init__()
        self.network, self.mode = network, mode
        self.training = False

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the network."""
        with self.mode:
            return self.network(*inputs)


def _culprit(place: Place) -> Culprit:
    """Return the call at a place as the graph would name it."""
    file, number, name = place
    chooses = name not in _NUMBERS
    bare = name if chooses else "_local_scalar_dense"
    operator = "aten.index.Tensor" if name == "__getitem__" else f"aten.{bare}.default"
    source = linecache.getline(file, number).strip()
    line = code_line(f'File "{file}", line {number}, in forward\n    {source}\n')
    return Culprit(operator=operator, called=call_in(operator, line), line=line, chooses=chooses)


def _place(func: Any) -> Place:
    """Return where the call that is being handled comes from: the innermost line that is not PyTorch's."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _is_tool(frame.f_code.co_filename):
        frame = frame.f_back
    # By name: tensors without values have methods of their own.
    return frame.f_code.co_filename, frame.f_lineno, getattr(func, "__name__", str(func))


def _is_tool(file: str) -> bool:
    return file.startswith((_TORCH, _OWN))


def _is_open(value: Any) -> bool:
    """Whether a result is, or has, a size that depends on values."""
    if isinstance(value, torch.Tensor):
        return not all(isinstance(size, int) for size in value.shape)
    return isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool)


class _Shape:
    """Shape and type of a tensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.shape, self.dtype = tuple(tensor.shape), tensor.dtype


def _without_values(tensor: torch.Tensor) -> _Shape:
    return _Shape(tensor)


def _made(recorded: Any) -> Any:
    return pytree.tree_map_only(_Shape, lambda each: torch.zeros(each.shape, dtype=each.dtype), recorded)
