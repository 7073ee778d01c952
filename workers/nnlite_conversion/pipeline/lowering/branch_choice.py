"""Chooses between the results of the two sides of a branch: what the code of `branch_code` calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

#: Values that nothing changes in place.
_IMMUTABLE = (bool, int, float, str, bytes, tuple, type(None))
#: Stands for a variable without a value.
_UNBOUND = object()


class NoChoiceError(RuntimeError):
    """No tensor can stand for the results of both sides, or a side has effects besides its results."""


def is_value(test: Any) -> bool:
    """Whether a branch on `test` depends on values."""
    return isinstance(test, torch.Tensor)


def one_of(
    variables: Mapping[str, Any], test: Any, then: Callable[[], Any], orelse: Callable[[], Any]
) -> Any:
    """Return what `then() if test else orelse()` is.

    Args:
        variables: all of the function, by name.
    """
    if not is_value(test):
        return then() if test else orelse()
    choice = Choice(variables, ["its result"], [], [])
    for side in (then, orelse):
        choice.begin()
        choice.end([side()])
    return choice.chosen(test)[0]


class Choice:
    """The variables of a function before a branch, and after each side of it.

    Args:
        variables: all of the function, by name.
        names: those that the branch may assign.
        in_place: those of them whose tensors it may change.
        read: those that it reads.

    Raises:
        NoChoiceError: a side would not see its own change, because it reads the tensor by another name.
    """

    def __init__(
        self,
        variables: Mapping[str, Any],
        names: Sequence[str],
        in_place: Sequence[str],
        read: Sequence[str],
    ) -> None:
        for name in in_place:
            for other in {*read} - {name}:
                if _share_memory(variables.get(name), variables.get(other)):
                    raise NoChoiceError(f"a branch changes {name} in place, and reads it as {other}")
        self._variables = dict(variables)
        self._names = names
        self._before = [variables.get(name, _UNBOUND) for name in names]
        self._in_place = [name in in_place for name in names]
        #: Its values are held: nothing else gets their ids.
        self._state, self._held = self._seen()
        self._begun: list[list[Any]] = []
        self._ended: list[list[Any]] = []

    def begin(self) -> list[Any]:
        """Return the variables as they were before the branch, with copies of what a side may change."""
        self._begun.append(list(map(_copied, self._before, self._in_place)))
        return [*self._begun[-1]]

    def end(self, values: list[Any]) -> None:
        """Keep the variables after a side.

        Raises:
            NoChoiceError: it has changed something else.
        """
        if self._seen()[0] != self._state:
            raise NoChoiceError("a side of a branch changes something in place")
        self._ended.append(values)

    def chosen(self, test: torch.Tensor) -> list[Any]:
        """Return the variables after the branch."""
        return [
            _in_original(before, _chosen(test, name, then, orelse), (then is first, orelse is second))
            if in_place and isinstance(before, torch.Tensor)
            else _chosen(test, name, then, orelse)
            for name, before, in_place, first, second, then, orelse in zip(
                self._names, self._before, self._in_place, *self._begun, *self._ended, strict=True
            )
        ]

    def _seen(self) -> tuple[tuple[Any, list[tuple[int, int]]], list[Any]]:
        """Return what differs after the variables, or layers in them, have changed; and their values."""
        layers = [each for each in self._variables.values() if isinstance(each, torch.nn.Module)]
        inside = [vars(inner) for layer in layers for inner in layer.modules()]
        leaves, structure = pytree.tree_flatten([self._variables, inside])
        versions = [(id(each), each._version if isinstance(each, torch.Tensor) else 0) for each in leaves]
        return (structure, versions), leaves


def _share_memory(one: Any, other: Any) -> bool:
    both = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return both and one.untyped_storage()._cdata == other.untyped_storage()._cdata


def _copied(value: Any, in_place: bool) -> Any:
    if in_place and isinstance(value, torch.Tensor):
        return value.clone()
    if in_place and value is not _UNBOUND and not isinstance(value, _IMMUTABLE):
        raise NoChoiceError(f"a branch changes a {type(value).__name__}")
    return value


def _in_original(before: torch.Tensor, value: Any, is_copy: tuple[bool, bool]) -> Any:
    """Return the tensor of before, with another value: others may hold it, too."""
    if is_copy == (True, True):
        return before.copy_(value)
    if any(is_copy):
        raise NoChoiceError("a side changes a tensor, the other one replaces it")
    return value


def _chosen(test: torch.Tensor, name: str, then: Any, orelse: Any) -> Any:
    if then is _UNBOUND or orelse is _UNBOUND:
        return orelse if then is _UNBOUND else then
    leaves, structure = pytree.tree_flatten(then)
    others, other_structure = pytree.tree_flatten(orelse)
    chosen = [_leaf(test, *both) for both in zip(leaves, others, strict=False)]
    if structure != other_structure or any(each is _UNBOUND for each in chosen):
        raise NoChoiceError(
            f"{name} is {_kind(then)} on one side of the branch, {_kind(orelse)} on the other"
        )
    return pytree.tree_unflatten(chosen, structure)


def _leaf(test: torch.Tensor, then: Any, orelse: Any) -> Any:
    """Return the value after the branch; `_UNBOUND`: there is none."""
    if then is orelse:
        return then
    if isinstance(then, torch.Tensor) and isinstance(orelse, torch.Tensor):
        same = (then.shape, then.dtype) == (orelse.shape, orelse.dtype)
        return torch.where(test.reshape(()) != 0, then, orelse) if same else _UNBOUND
    same = type(then) is type(orelse) and isinstance(then, _IMMUTABLE) and then == orelse
    return then if same else _UNBOUND


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
