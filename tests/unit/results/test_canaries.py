"""Change points in the canaries of a device: what lasts is found, what flips is not."""

import random

import pytest

from nnlite.results.canaries import FEWEST, MEMORY, WINDOW, find_change

LIMIT = 0.1


def steady(count, ns=25_000_000, seed=1):
    noise = random.Random(seed)
    return [round(ns * (1 + noise.gauss(0, 0.01))) for _ in range(count)]


def of_two_speeds(count, fast_share, seed, stay=1):
    """A core that is fast (25 ms) or slow (36 ms); each speed lasts for `stay` canaries on average."""
    noise, fast, series = random.Random(seed), True, []
    for _ in range(count):
        if noise.random() < 1 / stay:
            fast = noise.random() < fast_share
        series.append(round((25e6 if fast else 36e6) * (1 + noise.gauss(0, 0.02))))
    return series


@pytest.mark.parametrize("ratio", [0.8, 1.2])
def test_a_lasting_change_is_found_with_its_first_canary_and_both_speeds(ratio):
    change = find_change(steady(80) + steady(10, 25_000_000 * ratio), LIMIT)

    assert change.first == 80
    assert change.before_ns == pytest.approx(25_000_000, rel=0.02)
    assert change.after_ns / change.before_ns == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize(
    "series",
    [
        steady(MEMORY),
        steady(80) + steady(WINDOW, 27_000_000),
        steady(80) + steady(5, 36_000_000),
        steady(FEWEST - 1) + steady(WINDOW, 36_000_000),
        steady(60) + steady(20, 36_000_000) + steady(60) + steady(WINDOW, 36_000_000),
        [],
    ],
    ids=[
        "steady",
        "less than the limit",
        "too short",
        "too little is known",
        "a speed that it had before",
        "nothing",
    ],
)
def test_what_is_no_change(series):
    assert find_change(series, LIMIT) is None


def test_single_outliers_neither_are_a_change_nor_hide_one():
    series = steady(150)
    series[30] = series[145] = 80_000_000
    assert find_change(series, LIMIT) is None

    slower = steady(9, 32_000_000)
    slower[4] = 25_000_000
    assert find_change(series + slower + steady(2, 32_000_000), LIMIT).first == 150


@pytest.mark.parametrize("fast_share", [0.1, 0.2, 0.35, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_a_core_of_two_speeds_that_flips_is_silent(fast_share, seed):
    series = of_two_speeds(300, fast_share, seed)

    found = [end for end in range(60, 300, 3) if find_change(series[max(0, end - MEMORY) : end], LIMIT)]

    assert found == []


def test_a_core_of_two_speeds_that_becomes_slower_at_both_is_found():
    before = of_two_speeds(150, 0.2, 1)
    after = [round(1.3 * ns) for ns in of_two_speeds(40, 0.2, 2)]

    found = [end for end in range(1, 41) if find_change(before + after[:end], LIMIT)]

    assert found
