"""Gated sampling on a simulated core of two speeds."""

from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Mode
from nnlite_benchmark.protocol.gating import Gate, gated_runs, low_quantile, select
from nnlite_benchmark.protocol.runs import SECOND_NS, Bounds

SETTINGS = MeasurementSettings()
BOUNDS = Bounds.of(SETTINGS)
CANARY_NS = 200_000
KNOWN = Gate.of(SETTINGS, CANARY_NS)
UNKNOWN = Gate.of(SETTINGS, None)


class Core:
    """A core that runs a model and the canary, in phases of (seconds, times slower) that repeat."""

    def __init__(self, model_s, phases=((1.0, 1.0),), cold=1.0):
        self.now_ns = 0
        self.model_ns = round(model_s * SECOND_NS)
        self.ends_ns = [round(end_s * SECOND_NS) for end_s in accumulate(second for second, _ in phases)]
        self.factors = [factor for _, factor in phases]
        #: So many times slower is what ran after something else.
        self.cold, self.last = cold, None

    def clock(self):
        return self.now_ns

    def invoke(self):
        self._run("model", self.model_ns)

    def canary(self):
        self._run("canary", CANARY_NS)

    def _run(self, what, duration_ns):
        within_ns = self.now_ns % self.ends_ns[-1]
        factor = next(f for end_ns, f in zip(self.ends_ns, self.factors, strict=True) if within_ns < end_ns)
        self.now_ns += round(duration_ns * factor * (self.cold if self.last != what else 1))
        self.last = what


def run(core, gate=KNOWN, bounds=BOUNDS):
    return gated_runs(core.invoke, core.canary, core.clock, bounds, gate, typical_ns=core.model_ns)


def counted_ns(runs, gate=KNOWN):
    counted = select(runs.canaries_ns, runs.learning_ns, gate).counted
    counts = [counts for number, counts in zip(runs.slice_runs, counted, strict=True) for _ in range(number)]
    return [sample for sample, counts in zip(runs.samples_ns, counts, strict=True) if counts]


#: Fast for a quarter of the time.
SHARED = ((0.3, 1.0), (0.9, 1.6))


def test_on_a_steady_core_every_slice_counts_and_two_seconds_are_enough():
    runs = run(Core(0.001))

    assert counted_ns(runs) == list(runs.samples_ns)
    assert set(runs.samples_ns) == {1_000_000}
    assert 2.0 <= sum(runs.samples_ns) / SECOND_NS < 2.0 + KNOWN.gate_slice_s


@pytest.mark.parametrize("model_s", [0.0001, 0.001, 0.015, 0.05])
def test_on_a_shared_core_only_the_runs_of_the_fast_core_count(model_s):
    runs = run(Core(model_s, SHARED))
    counted = counted_ns(runs)

    assert max(counted) == pytest.approx(model_s * SECOND_NS)
    assert len(counted) >= 50
    assert sum(counted) >= 2 * SECOND_NS
    assert max(runs.samples_ns) == pytest.approx(1.6 * model_s * SECOND_NS)


def shared(seed):
    """A minute of a core that is fast for a quarter of the time, a fraction of a second at a time."""
    draw = np.random.default_rng(seed)
    return [
        phase for _ in range(60) for phase in ((draw.exponential(0.25), 1.0), (draw.exponential(0.75), 1.6))
    ]


@pytest.mark.parametrize("model_s", [0.0005, 0.01, 0.06])
def test_measurements_of_a_core_that_changes_at_random_agree(model_s):
    medians_ns, all_ns = [], []
    for seed in range(4):
        runs = run(Core(model_s, shared(seed)))
        medians_ns.append(np.median(counted_ns(runs)))
        all_ns.append(np.median(runs.samples_ns))

    assert medians_ns == pytest.approx([model_s * SECOND_NS] * 4, rel=0.001)
    assert max(all_ns) > 1.5 * model_s * SECOND_NS


def test_the_first_run_of_a_slice_is_no_sample():
    runs = run(Core(0.001, cold=3))

    assert set(runs.slice_first_ns) == {3_000_000}
    assert set(runs.samples_ns) == {1_000_000}


def test_a_model_that_fills_a_slice_loses_no_run():
    runs = run(Core(0.3))

    assert (len(runs.samples_ns), set(runs.slice_runs), runs.slice_first_ns) == (50, {1}, [])


def test_a_canary_is_not_slow_because_the_model_ran_before_it():
    runs = run(Core(0.001, cold=3))

    assert set(runs.canaries_ns) == {CANARY_NS}


def test_an_unknown_fast_speed_is_learned_before_the_first_slice():
    slow_first = ((1.0, 1.6), (0.5, 1.0), (60, 1.6))

    assert select((320_000,) * 9, run(Core(0.001, slow_first), UNKNOWN).learning_ns, UNKNOWN).counted == (
        (False,) * 8
    )


def test_a_known_fast_speed_is_not_learned_again():
    assert run(Core(0.001)).learning_ns == []


def test_a_faster_core_than_known_is_the_new_fast_speed():
    selection = select([100, 100, 101, 150, 100], (), replace(KNOWN, fast_ns=150))

    assert (selection.fast_ns, selection.counted) == (100, (True, True, False, False))


def test_a_run_on_a_slow_core_ends_after_a_quarter_of_the_time():
    runs = run(Core(0.001, ((1.0, 1.6),)))

    assert counted_ns(runs) == []
    assert 15 <= runs.run_ns / SECOND_NS < 15.1


def test_a_quick_run_on_a_slow_core_takes_all_its_time():
    quick = Bounds.of(SETTINGS.in_mode(Mode.QUICK))

    assert 1 <= run(Core(0.001, ((1.0, 1.6),)), bounds=quick).run_ns / SECOND_NS < 1.1


def test_a_run_on_a_core_that_is_seldom_fast_ends_at_a_minute():
    runs = run(Core(0.001, ((0.2, 1.0), (9.8, 1.6))))

    assert 60 <= runs.run_ns / SECOND_NS < 60.1
    assert 0 < len(counted_ns(runs)) < 2000


@pytest.mark.parametrize(("seconds", "runs"), [(2.0, 30), (20.0, 5), (50.0, 4)])
def test_slow_models_have_the_same_bounds_as_without_a_gate(seconds, runs):
    assert len(run(Core(seconds)).samples_ns) == runs


def test_a_slice_counts_if_both_its_canaries_are_within_the_limit():
    selection = select([100, 108, 109, 100, 160], (), replace(KNOWN, fast_ns=100))

    assert selection.counted == (True, False, False, False)
    assert (selection.slow_share, selection.slow_ratio) == (0.4, 1.345)


def test_the_fast_speed_of_a_run_is_no_single_minimum():
    assert low_quantile([100] * 30 + [50, 51]) == 100
    assert low_quantile([*range(1000)]) == 50
    assert low_quantile([7]) == 7


@given(
    st.floats(0.0005, 4),
    st.lists(st.tuples(st.floats(0.01, 3), st.floats(1, 3)), min_size=1, max_size=6),
    st.booleans(),
)
def test_slices_canaries_and_samples_fit_each_other(model_s, phases, known):
    bounds = replace(BOUNDS, min_s=0.2, max_s=2, few_runs_max_s=6)
    gate = replace(KNOWN if known else UNKNOWN, gate_learn_s=0.1)
    core = Core(model_s, phases)

    runs = run(core, gate, bounds)

    assert len(runs.canaries_ns) == len(runs.slice_runs) + 1
    assert sum(runs.slice_runs) == len(runs.samples_ns)
    assert sum(runs.slice_ns) == sum(runs.samples_ns)
    assert len(runs.slice_first_ns) in (0, len(runs.slice_runs))
    assert min(runs.slice_runs) >= 1
    selection = select(runs.canaries_ns, runs.learning_ns, gate)
    for counts, canaries in zip(selection.counted, pairwise(runs.canaries_ns), strict=True):
        assert counts == (max(canaries) <= selection.fast_ns * 1.08)
