"""Confidence interval of a median whose samples depend on each other in time.

Latencies come in faster and slower stretches, so that n samples tell less than n
independent ones. The share of samples below the median is therefore averaged in
consecutive blocks, and the spread of these averages gives the ranks between
which the true median lies (batch means for quantiles, after Heidelberger and
Lewis, "Quantile Estimation in Dependent Sequences", Operations Research 32,
1984). Blocks are few, so that each is longer than the stretches. It needs no
random numbers and linear time.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Of the normal distribution, for 95 %.
_Z: Final = 1.96
MAX_BLOCKS: Final = 20
#: Fewest samples: blocks of fewer tell little of how much samples depend on each other.
MIN_SAMPLES: Final = 30


def median_interval(samples_ns: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the bounds of the median's 95 % interval, two of the samples; None: too few samples for it.

    Samples that depend on each other so much that a bound would lie outside of them are too few as well.
    """
    size = samples_ns.size
    if size < MIN_SAMPLES:
        return None
    not_above = samples_ns <= np.median(samples_ns)
    blocks = np.array_split(not_above, min(MAX_BLOCKS, math.isqrt(size)))
    shares = [int(np.count_nonzero(block)) / block.size for block in blocks]
    half_width = max(_independent(size), size * _share_error(shares))
    # Rounded to the nearest rank: (size + 1) / 2 is the median's.
    lower = math.floor(size / 2 + 1 - half_width)
    if lower < 1:
        return None
    ordered = np.partition(samples_ns, (lower - 1, size - lower))
    return int(ordered[lower - 1]), int(ordered[size - lower])


def _independent(size: int) -> float:
    """Return half the width of the interval in ranks, for independent samples."""
    return _Z * math.sqrt(size) / 2


def _share_error(shares: Sequence[float]) -> float:
    """Return half the width of the 95 % interval of the mean of `shares`, which are taken as independent."""
    freedom = len(shares) - 1
    mean = 0.0
    for share in shares:
        mean += share
    mean /= len(shares)
    squares = 0.0
    for share in shares:
        squares += (share - mean) * (share - mean)
    return _student(freedom) * math.sqrt(squares / freedom / len(shares))


def _student(freedom: int) -> float:
    """Return the 97.5th percentile of Student's t, within 1 % from 6 degrees of freedom on."""
    # Two terms of the expansion of Cornish and Fisher.
    z2 = _Z * _Z
    first = _Z * (z2 + 1) / 4
    second = _Z * (5 * z2 * z2 + 16 * z2 + 3) / 96
    return _Z + first / freedom + second / (freedom * freedom)
