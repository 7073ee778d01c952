"""Comparison of one output of an artifact with PyTorch's over many inputs: as a whole and slice by slice.

A slice is what has one index along one axis, such as a channel, an anchor or a class; the inputs are an axis
too. One ratio over things of different scale says nothing about the small ones: next to boxes in pixels
nobody sees that every score is lost. Slices whose scale is another than that of the whole are judged by
themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: A slice has a scale of its own where both its range and its largest magnitude are this many times smaller
#: than the largest of its axis. In others 8 bits still give 8 steps. Both, because levels of random weights
#: are near zero by chance, and because nearly constant slices have any level.
OTHER_SCALE = 32.0
#: Axes with more entries have no slices.
MAX_SLICES = 4096
#: Most elements of an output whose slices are judged, which bounds the time; later inputs have none.
MAX_SLICED_ELEMENTS = 1 << 24
#: An output that changes by less than this share of its magnitude is the same for every input; float32 rounds
#: to 1.2e-7.
MIN_CHANGE = 1e-6
#: Represents an infinite ratio: no noise at all.
MAX_SQNR_DB = 200.0

Floats = NDArray[np.float64]


class _Elements(NamedTuple):
    """One pair of outputs; elements that are not finite are 0."""

    values: Floats
    errors: Floats
    finite: NDArray[np.bool_]
    nan: NDArray[np.bool_]


@dataclass(kw_only=True)
class Sums:
    """Sums over the finite elements of each slice of an axis, from which the measures of parity follow."""

    count: Floats
    low: Floats
    high: Floats
    total: Floats
    signal: Floats
    noise: Floats
    max_abs: Floats
    #: The slice has NaN in it.
    nan: NDArray[np.bool_]

    @classmethod
    def of(cls, elements: _Elements, axis: int | None) -> "Sums":
        """Return the sums of the slices along `axis`; None: of the whole, as one slice."""
        values, errors, finite, nan = elements
        axes: Any = None if axis is None else tuple(each for each in range(values.ndim) if each != axis)
        where: Any = True if finite.all() else finite
        length = 1 if axis is None else values.shape[axis]

        def reduced(array: NDArray[Any]) -> NDArray[Any]:
            return np.reshape(array, (length,))

        return cls(
            count=reduced(finite.sum(axes, dtype=np.float64)),
            low=reduced(values.min(axes, initial=np.inf, where=where)),
            high=reduced(values.max(axes, initial=-np.inf, where=where)),
            total=reduced(values.sum(axes)),
            signal=reduced(np.square(values).sum(axes)),
            noise=reduced(np.square(errors).sum(axes)),
            max_abs=reduced(errors.max(axes, initial=0.0)),
            nan=reduced(nan.any(axes)),
        )

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over the elements of both."""
        return Sums(
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
            max_abs=np.maximum(self.max_abs, other.max_abs),
            nan=self.nan | other.nan,
            **{
                name: getattr(self, name) + getattr(other, name)
                for name in ("count", "total", "signal", "noise")
            },
        )

    @cached_property
    def range(self) -> Floats:
        """Largest minus smallest element; 0 where nothing is finite."""
        return np.where(self.count > 0, self.high - self.low, 0.0)

    @cached_property
    def magnitude(self) -> Floats:
        """Largest absolute value."""
        return np.where(self.count > 0, np.maximum(np.abs(self.high), np.abs(self.low)), 0.0)

    @cached_property
    def relative(self) -> Floats:
        """Largest difference by range; absolute where the range is 0."""
        return self.max_abs / np.where(self.range > 0, self.range, 1.0)

    @cached_property
    def sqnr_db(self) -> Floats:
        """Signal-to-noise ratio in dB; NaN where the signal is 0."""
        return _decibels(self.signal, self.noise)

    @cached_property
    def change_db(self) -> Floats:
        """Signal-to-noise ratio of what changes; of the level where next to nothing does."""
        level = np.square(self.total) / np.maximum(self.count, 1)
        constant = self.range * OTHER_SCALE < self.magnitude
        return _decibels(np.where(constant, self.signal, np.maximum(self.signal - level, 0)), self.noise)

    @cached_property
    def alone(self) -> NDArray[np.bool_]:
        """Which slices have a scale of their own."""
        if self.low.min() >= 0 and self.high.max() <= 1:
            # Probabilities have one scale, and many classes that never get a large one.
            return np.zeros(self.count.shape, np.bool_)
        small: NDArray[np.bool_] = (
            (self.range > 0)
            & (self.range * OTHER_SCALE < self.range.max())
            & (self.magnitude * OTHER_SCALE < self.magnitude.max())
        )
        return small


class OutputComparison:
    """Comparison of one output; `add` takes a pair of its values for the same input."""

    def __init__(self) -> None:
        self.inputs = 0
        #: How many inputs its dependence on the input is known from.
        self.seen = 0
        #: How values that are not finite differ; None: they do not.
        self.mismatch: str | None = None
        #: The output depends on the input.
        self.changes = False
        #: How many elements differ at all: of integers and booleans.
        self.different = 0
        self.discrete = False
        self._first: NDArray[Any] | None = None
        self._whole: list[Sums] = []
        self._slices: dict[int, Sums] = {}
        self._sliced = 0
        self._dot = self._actual = 0.0
        self.rank = 0

    def add(self, expected: NDArray[Any], actual: NDArray[Any]) -> None:
        """Add PyTorch's and the artifact's values for one more input."""
        self.inputs += 1
        self.rank = expected.ndim
        self.discrete = expected.dtype.kind in "iub"
        self.see(expected)
        wanted, got = expected.astype(np.float64), actual.astype(np.float64)
        finite = np.isfinite(wanted)
        if not _equal_where_not_finite(wanted, got, finite):
            self.mismatch = self.mismatch or _mismatch(wanted, got)
            return
        nan = np.zeros(wanted.shape, np.bool_)
        if not finite.all():
            nan = np.isnan(wanted)
            wanted, got = np.where(finite, wanted, 0.0), np.where(finite, got, 0.0)
        elements = _Elements(wanted, np.abs(wanted - got), finite, nan)
        self.different += int(np.count_nonzero(elements.errors))
        self._dot += float(np.vdot(wanted, got))
        self._actual += float(np.vdot(got, got))
        self._whole.append(Sums.of(elements, None))
        if wanted.ndim and self._sliced + wanted.size <= max(MAX_SLICED_ELEMENTS, wanted.size):
            self._sliced += wanted.size
            self._add_slices(elements)

    def see(self, expected: NDArray[Any]) -> None:
        """Take note of PyTorch's values for one more input, which are not compared."""
        self.seen += 1
        if self._first is None:
            self._first = expected
        self.changes = self.changes or differs(self._first, expected)

    def _add_slices(self, elements: _Elements) -> None:
        for axis, length in enumerate(elements.values.shape):
            if 2 <= length <= MAX_SLICES:
                sums = Sums.of(elements, axis)
                known = self._slices.get(axis)
                self._slices[axis] = known.plus(sums) if known else sums

    @cached_property
    def whole(self) -> Sums:
        """The whole output over all inputs, as one slice."""
        total = self._whole[0]
        for sums in self._whole[1:]:
            total = total.plus(sums)
        return total

    @property
    def constant(self) -> bool:
        """Whether it is the same for every input, as far as there are several."""
        return self.seen > 1 and not self.changes

    @property
    def compared(self) -> bool:
        """Whether a finite element was compared."""
        return bool(self._whole) and bool(self.whole.count[0])

    def slices(self) -> Iterator[tuple[int | None, Sums]]:
        """Yield each axis with its slices; None: the inputs."""
        yield from self._slices.items()
        if len(self._whole) > 1:
            yield None, _joined(self._whole)

    @property
    def cosine(self) -> float | None:
        """Cosine similarity; None where one of both is all zero."""
        norms = float(np.sqrt(self.whole.signal[0]) * np.sqrt(self._actual)) if self._whole else 0.0
        return self._dot / norms if norms > 0 and np.isfinite(norms) else None


def differs(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two values of an output differ by more than rounding."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(first)
    if not _equal_where_not_finite(first, second, finite):
        return True
    change = np.abs(np.subtract(first, second, where=finite, out=np.zeros_like(first))).max(initial=0.0)
    return bool(change > MIN_CHANGE * np.abs(second).max(initial=0.0, where=finite))


def _decibels(signal: Floats, noise: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(np.where(noise > 0, signal / noise, np.where(signal > 0, np.inf, np.nan)))
    return np.minimum(np.where(signal > 0, ratio, np.nan), MAX_SQNR_DB)


def _joined(sums: list[Sums]) -> Sums:
    return Sums(**{name: np.concatenate([getattr(each, name) for each in sums]) for name in _FIELDS})


_FIELDS = ("count", "low", "high", "total", "signal", "noise", "max_abs", "nan")


def _mismatch(wanted: Floats, got: Floats) -> str:
    """Return how values that are not finite differ."""
    of_pytorch, of_artifact = np.isnan(wanted), np.isnan(got)
    if (of_artifact & ~of_pytorch).any():
        return "the artifact has NaN where PyTorch has none"
    if (of_pytorch & ~of_artifact).any():
        return "PyTorch has NaN where the artifact has none"
    if np.isinf(wanted).any():
        return (
            "PyTorch has infinite values where the artifact has none: infinite constants are the largest "
            "numbers in it; use finite ones, such as -1e9, or leave them out of the outputs"
        )
    return "the artifact has infinite values where PyTorch has none"


def _equal_where_not_finite(wanted: Floats, got: Floats, finite: NDArray[np.bool_]) -> bool:
    return np.array_equal(finite, np.isfinite(got)) and np.array_equal(
        wanted[~finite], got[~finite], equal_nan=True
    )
