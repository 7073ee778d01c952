"""Shape of a run: does its latency stay at one level, and if not, where does it end?

Change points in the medians of consecutive blocks, found by optimal partitioning
(Jackson et al., "An Algorithm for Optimal Partitioning of Data on an Interval",
2005; the dynamic program of PELT without its pruning, which 100 blocks do not
need). The classes are those of Barrett et al., "Virtual Machine Warmup Blows Hot
and Cold", OOPSLA 2017.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlite.vocabulary import Shape

MAX_BLOCKS: Final = 100
#: Fewest samples of a block.
_BLOCK: Final = 5
#: Fewest blocks that are judged: with fewer a level cannot be told from a disturbance.
_MIN_BLOCKS: Final = 10
#: A level has at least this share of the blocks, and at least `_MIN_LEVEL` of them.
_LEVEL_SHARE: Final = 0.05
_MIN_LEVEL: Final = 3
#: Of a level, in variances of the noise and logarithms of the number of blocks; a lower price finds levels
#: in noise.
_PRICE: Final = 7
#: A run is steady at its end if its last level has at least this share of the run.
_END_SHARE: Final = 0.25


def shape_of(samples_ns: NDArray[np.int64], tolerance: float) -> Shape | None:
    """Return the shape of a run, or None with fewer than 50 samples.

    Args:
        samples_ns: in chronological order.
        tolerance: levels that differ by less, relative to the faster one, are one level.
    """
    count = min(MAX_BLOCKS, samples_ns.size // _BLOCK)
    if count < _MIN_BLOCKS:
        return None
    blocks = np.array([float(np.median(part)) for part in np.array_split(samples_ns, count)])
    return shape_of_levels(levels_of(blocks, tolerance), tolerance)


def levels_of(blocks: NDArray[np.float64], tolerance: float) -> list[NDArray[np.float64]]:
    """Return the blocks of each level, in order; with fewer than ten blocks they are one level.

    Args:
        blocks: medians of consecutive runs.
        tolerance: as in `shape_of`.
    """
    if blocks.size < _MIN_BLOCKS:
        return [blocks]
    return _merged([blocks[begin:end] for begin, end in _segments(blocks, tolerance)], tolerance)


def shape_of_levels(segments: Sequence[NDArray[np.float64]], tolerance: float) -> Shape | None:
    """Return the shape of a run from the blocks of its levels; None: fewer than ten blocks."""
    count = sum(segment.size for segment in segments)
    if count < _MIN_BLOCKS:
        return None
    levels = [float(np.median(segment)) for segment in segments]
    if len(levels) == 1:
        return Shape.STEADY
    if segments[-1].size < _END_SHARE * count:
        return Shape.NO_STEADY_STATE
    return Shape.WARMING if levels[-1] <= min(levels) * (1 + tolerance) else Shape.SLOWING


def _segments(blocks: NDArray[np.float64], tolerance: float) -> list[tuple[int, int]]:
    """Return begin and end of the levels that explain the blocks best: least squares, a price for each."""
    count = blocks.size
    shortest = max(_MIN_LEVEL, round(_LEVEL_SHARE * count))
    price = _PRICE * np.log(count) * _noise(blocks, tolerance) ** 2
    scaled = blocks - blocks.mean()
    sums = np.concatenate(([0.0], np.cumsum(scaled)))
    squares = np.concatenate(([0.0], np.cumsum(scaled**2)))
    best = np.full(count + 1, np.inf)
    best[0] = -price
    last = np.zeros(count + 1, int)
    for end in range(shortest, count + 1):
        begins = np.arange(0, end - shortest + 1)
        costs = squares[end] - squares[begins] - (sums[end] - sums[begins]) ** 2 / (end - begins)
        totals = best[begins] + costs + price
        last[end] = int(np.argmin(totals))
        best[end] = totals[last[end]]
    found, end = [], count
    while end:
        found.append((int(last[end]), end))
        end = int(last[end])
    return found[::-1]


def _noise(blocks: NDArray[np.float64], tolerance: float) -> float:
    """Return the standard deviation within a level, from the steps between blocks.

    At least half the tolerance: levels that differ by less are one anyway.
    """
    steps = float(np.median(np.abs(np.diff(blocks)))) / (0.6745 * 2**0.5)
    return max(steps, tolerance / 2 * float(np.median(blocks)))


def _merged(segments: Sequence[NDArray[np.float64]], tolerance: float) -> list[NDArray[np.float64]]:
    """Join neighbouring segments whose medians differ by less than the tolerance."""
    merged: list[NDArray[np.float64]] = []
    for segment in segments:
        if merged and _equal(float(np.median(merged[-1])), float(np.median(segment)), tolerance):
            merged[-1] = np.concatenate((merged[-1], segment))
        else:
            merged.append(segment)
    return merged


def _equal(one: float, other: float, tolerance: float) -> bool:
    return max(one, other) <= min(one, other) * (1 + tolerance)
