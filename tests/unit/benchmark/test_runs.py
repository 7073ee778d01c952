"""The stop rules, with a clock that only inferences advance."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite.settings.groups import MeasurementSettings
from nnlite_benchmark.protocol.runs import (
    SECOND_NS,
    Bounds,
    between_canaries,
    canary_runs,
    timed_runs,
    warm_up,
)

BOUNDS = Bounds.of(MeasurementSettings())


class FakeDevice:
    """A clock and an inference; each inference takes the next of the given seconds, the last indefinitely."""

    def __init__(self, *seconds):
        self.now_ns = 1_000
        self.durations_ns = [round(second * SECOND_NS) for second in seconds]
        self.invocations = 0

    def clock(self):
        return self.now_ns

    def invoke(self):
        self.now_ns += self.durations_ns[min(self.invocations, len(self.durations_ns) - 1)]
        self.invocations += 1


@pytest.mark.parametrize(
    ("seconds", "runs"),
    [(0.001, 500), (0.01, 50), (0.2, 20), (0.6, 17), (3, 4), (10, 1), (60, 1)],
    ids=[
        "fast: half a second",
        "half a second",
        "twenty runs that agree",
        "no more than 10 s for them",
        "at 10 s",
        "exactly 10 s",
        "at least one",
    ],
)
def test_warm_up_of_a_steady_model_ends_within_its_bounds(seconds, runs):
    device = FakeDevice(seconds)

    assert warm_up(device.invoke, device.clock, BOUNDS) == (runs, round(runs * seconds * SECOND_NS))


def test_warm_up_goes_on_until_a_model_that_becomes_faster_is_steady():
    device = FakeDevice(*[0.004] * 100, 0.001)

    runs, _ = warm_up(device.invoke, device.clock, BOUNDS)

    # After 200 runs the slow mean covers 0.5 % of its distance from 1 ms with each run.
    assert runs == 934


def test_warm_up_of_a_model_that_never_is_steady_ends_at_ten_seconds():
    device = FakeDevice(*[0.4 * 0.97**run for run in range(200)])

    runs, elapsed_ns = warm_up(device.invoke, device.clock, BOUNDS)

    assert elapsed_ns >= 10 * SECOND_NS > elapsed_ns - device.durations_ns[runs - 1]


def test_warm_up_does_not_wait_for_a_model_that_becomes_slower():
    device = FakeDevice(*[0.001] * 300, 0.002)

    assert warm_up(device.invoke, device.clock, BOUNDS) == (400, SECOND_NS // 2)


def test_without_agreeing_runs_warm_up_ends_by_count_and_time():
    device = FakeDevice(0.2)

    assert warm_up(device.invoke, device.clock, replace(BOUNDS, warmup_agreeing_runs=0))[0] == 5


@pytest.mark.parametrize(
    ("seconds", "runs"),
    [(0.001, 2000), (0.04, 50), (0.1, 50), (1.0, 50), (2.0, 30), (12.0, 5), (20.0, 5), (40.0, 5), (50.0, 4)],
    ids=[
        "fast: two seconds",
        "fifty runs and two seconds at once",
        "fifty runs",
        "fifty runs within a minute",
        "few runs: at a minute",
        "five runs in a minute",
        "five runs beyond a minute",
        "the fifth begins in time",
        "too slow: at three minutes",
    ],
)
def test_timed_runs_end_by_count_and_time(seconds, runs):
    device = FakeDevice(seconds)

    samples, run_ns = timed_runs(device.invoke, device.clock, BOUNDS)

    assert len(samples) == runs == device.invocations
    assert set(samples) == {round(seconds * SECOND_NS)}
    assert run_ns == sum(samples)


def test_samples_are_in_chronological_order():
    device = FakeDevice(0.3, 0.1, 0.2, 0.5)

    samples, _ = timed_runs(device.invoke, device.clock, replace(BOUNDS, min_runs=4, min_s=0))

    assert list(samples) == [300_000_000, 100_000_000, 200_000_000, 500_000_000]


@given(st.lists(st.floats(0.001, 300), min_size=1, max_size=60))
def test_timed_runs_end_exactly_by_the_stop_rule(seconds):
    device = FakeDevice(*seconds)

    samples, run_ns = timed_runs(device.invoke, device.clock, BOUNDS)

    runs, elapsed_s = len(samples), run_ns / SECOND_NS
    before_last_s = (run_ns - samples[-1]) / SECOND_NS
    assert (runs >= 50 and elapsed_s >= 2) or (runs >= 5 and elapsed_s >= 60) or elapsed_s >= 180
    assert not (runs - 1 >= 50 and before_last_s >= 2)
    assert not (runs - 1 >= 5 and before_last_s >= 60)
    assert before_last_s < 180


CANARY = replace(BOUNDS, min_runs=15, min_s=0, few_runs=15)


@pytest.mark.parametrize(
    ("seconds", "before_s", "runs"),
    [
        ([0.025], 0, 6),
        ([0.025], 0.0255, 6),
        ([0.025], 0.03, 15),
        ([0.03], 0.025, 15),
        ([0.04] * 4 + [0.025], 0, 6),
        ([0.04] * 5 + [0.025], 0, 7),
        ([0.025] + [0.04] * 9 + [0.025], 0, 13),
        ([0.025, 0.04] * 2 + [0.04], 0.04, 15),
        ([0.025 * 1.02**run for run in range(15)], 0, 15),
    ],
    ids=[
        "steady",
        "steady, near the one before",
        "faster than before",
        "slower than before",
        "fast twice",
        "fast at last",
        "fast again at last",
        "fast runs, not as the one before",
        "no two runs agree",
    ],
)
def test_a_canary_ends_early_if_it_is_steady_and_near_the_one_before(seconds, before_s, runs):
    device = FakeDevice(*seconds)

    samples, run_ns = canary_runs(device.invoke, device.clock, CANARY, round(before_s * SECOND_NS))

    assert len(samples) == device.invocations == runs
    assert run_ns == sum(samples)


def canaries_of(fast_share, ends_early, canaries=1500):
    """p25 of each of a series of canaries of 25 ms, and runs per canary, on a core of two speeds.

    Its states last 40 ms and stay with probability 0.85; the slow one is 1.6 times slower.
    """
    draw = random.Random(7)
    clock_ms, fast, left_ms, runs, p25_ns = 0.0, True, 40.0, 0, []

    def invoke():
        nonlocal clock_ms, fast, left_ms
        todo_ms = 25.0
        while todo_ms > 1e-9:
            speed = 1 if fast else 1 / 1.6
            span_ms = min(left_ms, todo_ms / speed)
            clock_ms, left_ms, todo_ms = clock_ms + span_ms, left_ms - span_ms, todo_ms - span_ms * speed
            if left_ms < 1e-9:
                left_ms = 40.0
                if draw.random() > 0.85:
                    fast = draw.random() < fast_share

    def clock():
        return round(clock_ms * 1e6)

    for _ in range(canaries):
        before_ns = round(p25_ns[-1]) if p25_ns else 0
        if ends_early:
            samples, _ = canary_runs(invoke, clock, CANARY, before_ns)
        else:
            samples, _ = timed_runs(invoke, clock, CANARY)
        runs += len(samples)
        p25_ns.append(float(np.percentile(samples, 25)))
    return np.array(p25_ns), runs / canaries


@pytest.mark.parametrize("fast_share", [0.9, 0.7, 0.5, 0.3, 0.05])
def test_canaries_that_end_early_drift_no_more_often_on_a_core_of_two_speeds(fast_share):
    early, early_runs = canaries_of(fast_share, ends_early=True)
    whole, whole_runs = canaries_of(fast_share, ends_early=False)

    drifting = [np.mean(np.abs(np.diff(p25) / p25[:-1]) > 0.1) for p25 in (early, whole)]
    assert drifting[0] < drifting[1]
    assert early_runs < whole_runs == 15


def test_the_canary_after_a_measurement_is_told_the_one_before():
    told = []

    def canary(before_ns):
        told.append(before_ns)
        return 100 + 30 * len(told)

    between_canaries(canary, lambda: None, max_drift=0.1)

    assert told == [0, 130, 160]


def guarded(*canaries_ns, before_ns=None):
    canaries, measured = iter(canaries_ns), []

    def measure():
        measured.append(len(measured) + 1)
        return measured[-1]

    return between_canaries(lambda _: next(canaries), measure, max_drift=0.1, before_ns=before_ns)


def test_a_steady_canary_gives_one_measurement():
    result = guarded(100, 109)

    assert (result.result, result.repeated) == (1, False)
    assert result.drift == pytest.approx(0.09)


def test_a_drifting_canary_repeats_the_measurement():
    result = guarded(100, 130, 131)

    assert (result.result, result.repeated, result.before_ns, result.after_ns) == (2, True, 130, 131)
    assert result.drift < 0.1


def test_a_faster_canary_is_drift_too_and_the_second_drift_is_kept():
    result = guarded(100, 85, 70)

    assert (result.result, result.repeated) == (2, True)
    assert result.drift == pytest.approx(15 / 85)


def test_a_known_canary_is_the_first_one():
    result = guarded(109, before_ns=100)

    assert (result.result, result.repeated, result.reused, result.before_ns) == (1, False, True, 100)


def test_a_measurement_that_drifts_from_a_known_canary_is_repeated_between_two_of_its_own():
    result = guarded(130, 131, before_ns=100)

    assert (result.result, result.repeated, result.reused) == (2, True, False)
    assert (result.before_ns, result.after_ns) == (130, 131)


def test_bounds_come_from_the_settings_by_name():
    settings = MeasurementSettings(min_runs=7, max_s=9)

    assert Bounds.of(settings) == Bounds.of(settings.model_dump())
    assert (Bounds.of(settings).min_runs, Bounds.of(settings).max_s) == (7, 9)
