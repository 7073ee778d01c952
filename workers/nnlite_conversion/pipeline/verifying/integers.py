"""Integers in a network: which values its inputs accept, and whether 32 bits hold what it computes from them.

litert-torch narrows every 64-bit integer to 32 bits. The network runs on the CPU with values at the ends of
the range, and every operator is watched.
"""

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion.culprit import CodeLine, line_in

INT32 = torch.iinfo(torch.int32)
#: Largest magnitudes that are tried for inputs that accept every value, most first: 32 bits; what a float32
#: holds exactly; 16 bits; a small vocabulary.
LIMITS = (INT32.max, (1 << 24) - 1, (1 << 16) - 1, 4095)
#: A network that holds more than this is right for every value that is met, as `ids + 1` is.
MIN_UNQUALIFIED = LIMITS[1]
#: Largest magnitude of inputs that become floats, as masks do: larger ones would only show how floats round.
MAX_AS_FLOAT = LIMITS[2]
#: Ends of its range that an input has in turn, and whether the next input begins with the other one, as a
#: difference of two needs it.
_PATTERNS: tuple[tuple[tuple[int, ...], int], ...] = (((0,), 0), ((1,), 0), ((1, 0), 0), ((1, 0), 1))
#: Limit of the search for the accepted range of one network, CPU seconds of the calling thread.
MAX_SEARCH_S = 3.0

_REMEDY = "keep integers below 2**31, or compute these outside the network and take them as an input"

#: Operators with an index, and where their arguments have the tensor and the dimension that it points into.
_INDEXING: dict[str, tuple[int, int | None]] = {
    "embedding": (0, None),
    "embedding_bag": (0, None),
    "_embedding_bag": (0, None),
    "index_select": (0, 1),
    "gather": (0, 1),
    "scatter": (0, 1),
    "scatter_": (0, 1),
    "scatter_add": (0, 1),
    "scatter_add_": (0, 1),
    "scatter_reduce": (0, 1),
}
#: Operators whose numbers are indices, shapes or options rather than values.
_NO_VALUES = frozenset(
    {"slice", "select", "narrow", "view", "reshape", "expand", "permute", "transpose", "unsqueeze", "squeeze"}
    | {"slice_scatter", "select_scatter", "as_strided", "roll", "split", "unfold"}
)
#: Operators whose results have no values yet.
_NOTHING_YET = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})


class Needs64Bits(Failure):
    """The network computes with integers that 32 bits do not hold."""

    def __init__(self, overflow: "Overflow") -> None:
        cause = "needs 64-bit integers, which the artifact does not have"
        super().__init__(
            FailureClass.MODEL,
            Stage.EXPORT,
            f"{cause}: {overflow}; {_REMEDY}",
            {
                "operator": overflow.operator,
                "cause": f"{cause}: {overflow.operator}",
                "remedy": _REMEDY,
                **({"line": str(overflow.line)} if overflow.line else {}),
            },
        )


@dataclass(frozen=True)
class Overflow:
    """A value beyond 32 bits."""

    operator: str
    value: int
    #: The line of the model's code; None: unknown.
    line: CodeLine | None

    def __str__(self) -> str:
        where = f", at {self.line}" if self.line else ""
        return f"{self.operator} reaches {self.value}{where}"


@dataclass(frozen=True, kw_only=True)
class IntegerRanges:
    """The values of a network's integer inputs that parity is judged on."""

    #: Smallest and largest value for each input; None: it has no integers of 16 bits or more.
    of_inputs: tuple[tuple[int, int] | None, ...]
    #: What happens beyond the range; None: nothing, or nothing that matters.
    beyond: str | None = None


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Notes what operators do with integers while a network runs."""

    def __init__(self) -> None:
        super().__init__()
        #: Sizes that indices point into.
        self.sizes: set[int] = set()
        #: Integers become floats, other than by looking something up.
        self.floats = False
        self.overflow: Overflow | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self._note_indexing(name, args)
        if self.overflow is None and name not in _NOTHING_YET:
            self._note_values(func, result, () if name in _NO_VALUES else args)
        if name not in _INDEXING and isinstance(result, torch.Tensor) and result.is_floating_point():
            self.floats |= any(_is_wide(each) and each.dim() > 0 for each in args[:2])
        return result

    def _note_indexing(self, name: str, args: tuple[Any, ...]) -> None:
        if name in _INDEXING:
            tensor, dimension = _INDEXING[name]
            shape = args[tensor].shape
            if shape:
                self.sizes.add(int(shape[0 if dimension is None else args[dimension]]))
        elif name in {"index", "index_put", "index_put_"}:
            for size, index in zip(args[0].shape, args[1], strict=False):
                if index is not None and index.dtype != torch.bool:
                    self.sizes.add(int(size))

    def _note_values(self, func: Any, result: Any, args: tuple[Any, ...]) -> None:
        values = [each for each in (*args, result) if _is_int64(each) and each.numel()]
        extremes = [int(extreme) for each in values for extreme in torch.aminmax(each)]
        if values:
            extremes += [each for each in args if type(each) is int]
        for extreme in extremes:
            if not INT32.min <= extreme <= INT32.max:
                self.overflow = Overflow(str(func), extreme, line_in(traceback.extract_stack()))
                return


def integer_ranges(network: torch.nn.Module, samples: Sequence[NDArray[Any]]) -> IntegerRanges:
    """Return the range of values for each integer input, within what the network accepts and 32 bits hold.

    Args:
        network: on the CPU; takes the samples.
        samples: the seeded input.

    Raises:
        Needs64Bits: even for small integers, or for the seeded input, 32 bits do not hold what it computes.
    """
    integers = [
        number
        for number, sample in enumerate(samples)
        if sample.dtype.kind == "i" and sample.dtype.itemsize > 1
    ]
    search = _Search(network, samples)
    seeded = search.watched({})
    if seeded is not None and seeded.overflow is not None:
        raise Needs64Bits(seeded.overflow)
    ranges = {number: search.accepted(number, seeded) for number in integers}
    overflow = None
    for limit in LIMITS:
        held = {number: (max(low, -limit - 1), min(high, limit)) for number, (low, high) in ranges.items()}
        found = search.overflow(held)
        if found is None:
            break
        overflow = found
        if limit == LIMITS[-1]:
            raise Needs64Bits(found)
    beyond = None
    if overflow is not None and limit < MIN_UNQUALIFIED:
        beyond = f"32 bits hold integers up to {limit} only; beyond, {overflow}"
    return IntegerRanges(of_inputs=tuple(held.get(number) for number in range(len(samples))), beyond=beyond)


class _Search:
    """Runs a network on chosen integers, within a time limit."""

    def __init__(self, network: torch.nn.Module, samples: Sequence[NDArray[Any]]) -> None:
        self._network, self._samples = network, samples
        self._until_s = time.thread_time() + MAX_SEARCH_S

    def watched(self, replaced: Mapping[int, NDArray[Any]]) -> _Watch | None:
        """Return what happens with some inputs replaced; None: the network does not accept them."""
        inputs = [
            torch.from_numpy(replaced.get(number, sample)) for number, sample in enumerate(self._samples)
        ]
        watch = _Watch()
        try:
            with torch.no_grad(), watch:
                self._network(*inputs)
        except (Exception, SystemExit) as error:
            if isinstance(error, MemoryError):
                raise
            return None
        return watch

    def accepted(self, number: int, seeded: _Watch | None) -> tuple[int, int]:
        """Return the smallest and the largest value that an input accepts, as far as the time allows."""
        info = np.iinfo(self._samples[number].dtype)
        largest = min(INT32.max, int(info.max))
        watch = self._with(number, largest)
        if watch is not None:
            largest = min(largest, MAX_AS_FLOAT) if watch.floats else largest
            return (-largest - 1 if self._with(number, -largest - 1) is not None else 0), largest
        for size in sorted(seeded.sizes if seeded else (), reverse=True):
            if size > 1 and self._with(number, size - 1) is not None:
                return 0, size - 1
        return 0, self._bisected(number, 1, largest)

    def overflow(self, ranges: dict[int, tuple[int, int]]) -> Overflow | None:
        """Return what 32 bits do not hold when the integer inputs are in their ranges."""
        for pattern, step in _PATTERNS if ranges else ():
            filled = {
                number: _filled(
                    self._samples[number], [ends[(which + step * place) % 2] for which in pattern]
                )
                for place, (number, ends) in enumerate(ranges.items())
            }
            watch = self.watched(filled)
            if watch is not None and watch.overflow is not None:
                return watch.overflow
        return None

    def _with(self, number: int, value: int) -> _Watch | None:
        if time.thread_time() > self._until_s:
            return None
        return self.watched({number: _filled(self._samples[number], [value])})

    def _bisected(self, number: int, accepted: int, refused: int) -> int:
        while refused - accepted > 1:
            middle = (accepted + refused) // 2
            if self._with(number, middle) is not None:
                accepted = middle
            else:
                refused = middle
        return accepted


def _filled(sample: NDArray[Any], values: Sequence[int]) -> NDArray[Any]:
    """Return the values over and over, in the shape and type of the sample."""
    return np.resize(np.array(values, sample.dtype), sample.shape)


def _is_wide(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in {torch.int16, torch.int32, torch.int64}


def _is_int64(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype is torch.int64
