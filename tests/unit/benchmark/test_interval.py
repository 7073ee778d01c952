"""The interval of a median covers the true one in 95 % of runs, however long the noise lasts."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from nnlite_benchmark.protocol.analysis.interval import median_interval

Noise = Callable[[np.random.Generator], np.ndarray]
RUNS = 600


def autoregressive(draw: np.random.Generator, size: int, phi: float) -> np.ndarray:
    """Normal noise, each sample `phi` times the one before plus something new; its median is 0."""
    noise = draw.normal(size=size)
    noise[0] /= np.sqrt(1 - phi**2)
    for index in range(1, size):
        noise[index] += phi * noise[index - 1]
    return noise


def two_speeds(draw: np.random.Generator, size: int, stretch: int) -> np.ndarray:
    """A core that is fast in some stretches of time and slow in others; the median of the mixture is 0."""
    # The share of fast samples is 1/2, and the gap between both speeds is full of samples.
    slow = np.repeat(draw.random(size // stretch + 2) < 0.5, stretch)[draw.integers(stretch) :][:size]
    return np.where(slow, 0.3, -0.3) + draw.normal(size=size)


@pytest.mark.parametrize(
    "noise",
    [
        partial(autoregressive, size=64, phi=0.0),
        partial(autoregressive, size=1_000, phi=0.0),
        partial(autoregressive, size=200, phi=0.5),
        partial(autoregressive, size=1_000, phi=0.8),
        partial(two_speeds, size=1_000, stretch=10),
        partial(two_speeds, size=10_000, stretch=100),
    ],
)
def test_intervals_cover_the_true_median_in_95_percent_of_runs(noise: Noise) -> None:
    draw = np.random.default_rng(7)
    runs = (np.round(1e6 + 1e4 * noise(draw)).astype(np.int64) for _ in range(RUNS))
    intervals = [interval for interval in map(median_interval, runs) if interval is not None]

    covered = np.mean([low <= 1e6 <= high for low, high in intervals])

    assert len(intervals) > 0.98 * RUNS
    assert 0.92 <= covered <= 0.98


def test_an_interval_of_a_run_that_drifts_is_wider() -> None:
    samples = np.random.default_rng(1).normal(1e6, 1e4, 2_000).astype(np.int64)
    widths = [high - low for low, high in filter(None, map(median_interval, (samples, np.sort(samples))))]
    assert widths[1] > 5 * widths[0]


def test_bounds_of_independent_samples_are_the_ranks_of_the_binomial_distribution() -> None:
    alternating = np.tile([1, 100], 50) + np.arange(100)
    ordered = np.sort(alternating)
    # Of 101 / 2 - 1.96 x 10 / 2 = 40.7 and 101 / 2 + 1.96 x 10 / 2 = 60.3 the nearest, counted from 1.
    assert median_interval(alternating) == (ordered[40], ordered[59])


def test_equal_samples_have_an_interval_without_width() -> None:
    assert median_interval(np.full(64, 7)) == (7, 7)


def test_an_interval_has_both_levels_of_a_run_that_changes_half_way() -> None:
    assert median_interval(np.repeat([1, 2], 50)) == (1, 2)


def test_too_few_samples_have_no_interval() -> None:
    assert median_interval(np.arange(29)) is None
