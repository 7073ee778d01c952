"""Finds what code assigns to the `data` of tensors while it is traced, which torch.export overlooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary


class DataAssigned(Exception):
    """The code assigns a tensor's `data`."""


@contextmanager
def without_assigned_data() -> Iterator[None]:
    """Raise `DataAssigned` inside the block for what is assigned to a tensor's `data`."""
    plain = torch.Tensor.data

    def assign(tensor: torch.Tensor, value: torch.Tensor) -> None:
        raise DataAssigned("a tensor's data is assigned")

    with patch.object(torch.Tensor, "data", property(plain.__get__, assign), create=True):
        yield


class AssignedData:
    """Puts what was assigned to the `data` of tensors in their place; their views keep what they had."""

    def __init__(self) -> None:
        self._values: Any = WeakIdKeyDictionary()

    def assign(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """Let `tensor` be `value`."""
        self._values[tensor] = value

    def now(self, values: Any) -> Any:
        """Return tensors, in whatever structure, as they are after all assignments."""
        if not len(self._values):
            return values
        return pytree.tree_map_only(torch.Tensor, lambda each: self._values.get(each, each), values)
