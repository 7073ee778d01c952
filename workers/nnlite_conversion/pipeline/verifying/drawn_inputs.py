"""Drawn inputs: further values for a network's inputs that parity is judged on, from several distributions.

Like the seeded input they are made from raw generator bits, and so are the same on every machine.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlite.artifacts.inputs import seeded_input

#: Distance of the seeds of two drawn inputs, so that no two tensors are made from the same bits.
_SEED_STEP = 1_000_003
#: Largest integer of the non-negative distribution, as those of a picture.
SMALL = 255

_Floats = NDArray[np.float64]
#: Makes so many numbers from a source of numbers in [0, 1).
Distribution = Callable[[Callable[[int], _Floats], int], _Floats]


def _uniform(numbers: Callable[[int], _Floats], size: int) -> _Floats:
    """Uniform in [-1, 1), as the seeded input."""
    return 2 * numbers(size) - 1


def _normal(numbers: Callable[[int], _Floats], size: int) -> _Floats:
    """Nearly standard normal: the sum of twelve uniform numbers, which needs no function that rounds."""
    total = np.full(size, -6.0)
    for _ in range(12):
        total += numbers(size)
    return total


def _unit(numbers: Callable[[int], _Floats], size: int) -> _Floats:
    """Uniform in [0, 1), as unnormalized pictures."""
    return numbers(size)


#: One drawn input for each.
DISTRIBUTIONS = (_uniform, _normal, _unit)


def drawn_inputs(
    samples: Sequence[NDArray[Any]], ranges: Sequence[tuple[int, int] | None], seed: int
) -> list[tuple[NDArray[Any], ...]]:
    """Return one input for each distribution, in the shapes and types of `samples`.

    Args:
        samples: the seeded input.
        ranges: smallest and largest value of each integer input; None for others.
        seed: the seed that the seeded input was made from.
    """
    return [
        tuple(
            _drawn(tensor, ends, distribution, seed + _SEED_STEP * number + index)
            for index, (tensor, ends) in enumerate(zip(samples, ranges, strict=True))
        )
        for number, distribution in enumerate(DISTRIBUTIONS, start=1)
    ]


def _drawn(
    like: NDArray[Any], ends: tuple[int, int] | None, distribution: Distribution, seed: int
) -> NDArray[Any]:
    if ends is not None:
        low, high = ends
        if distribution is _unit:
            low, high = max(low, 0), min(high, SMALL)
        return integers(like, low, high, seed)
    if like.dtype.kind != "f":
        return seeded_input(like.shape, like.dtype.name, seed)
    generator = np.random.PCG64(seed)

    def numbers(count: int) -> _Floats:
        """Return numbers of 24 bits in [0, 1)."""
        raw = np.asarray(generator.random_raw(count), dtype=np.uint64)
        return (raw >> np.uint64(40)).astype(np.float64) * 2.0**-24

    return distribution(numbers, math.prod(like.shape)).astype(like.dtype).reshape(like.shape)


def integers(like: NDArray[Any], low: int, high: int, seed: int) -> NDArray[Any]:
    """Return integers in [low, high] with both ends among them."""
    raw = np.asarray(np.random.PCG64(seed).random_raw(like.size), dtype=np.uint64)
    steps = (raw >> np.uint64(32)) * np.uint64(high - low + 1) >> np.uint64(32)
    values = steps.astype(np.int64) + low
    values[-1:], values[:1] = low, high
    return values.astype(like.dtype).reshape(like.shape)
