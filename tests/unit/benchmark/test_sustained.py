"""What a series of continuous inference says: first level, plateau, time until it is slower."""

import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest

from nnlite.host.quiet import QuietResult
from nnlite.reports.schema import Bins, RunReport, ThermalSeries
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Fault, QuietMode, Shape, Stage
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.protocol.analysis.sustained import sustained_of
from nnlite_benchmark.protocol.continuous import continuous_runs
from nnlite_benchmark.protocol.measuring import CANARY_JOB
from nnlite_benchmark.protocol.passes import continuous_report, passes_of
from nnlite_benchmark.protocol.run_plan import pass_limits

MS = 1_000_000
S = 1_000 * MS
SETTINGS = MeasurementSettings()
TOLERANCE = SETTINGS.shape_tolerance
QUIET = nullcontext(QuietResult(mode=QuietMode.OWN_MACHINE, quiet=True, waited_s=0.0, undisturbed=True))


def made(run, **passes):
    """The fields of the passes that a job asks for, on a device that runs it by `run`."""

    class OneDevice:
        def continuous(self, job, backend, stage, seconds, *, stop):
            return continuous_report(job, backend, run, SETTINGS, QUIET, stage=stage, seconds=seconds)

    job = replace(CANARY_JOB, passes={Stage(name): seconds for name, seconds in passes.items()})
    return passes_of(OneDevice(), job, Backend.CPU, TOLERANCE, threading.Event())


def report_of(*levels: tuple[int, float]) -> RunReport:
    """The report of a pass with so many seconds at each latency, milliseconds, with a little noise."""
    medians = [
        round(latency_ms * MS * (1 + 0.002 * (second % 3)))
        for count, latency_ms in levels
        for second in range(count)
    ]
    bins = Bins(
        end_ns=tuple(S * (second + 1) for second in range(len(medians))),
        runs=(10,) * len(medians),
        median_ns=tuple(medians),
    )
    thermal = ThermalSeries(at_ns=(0,), status=(0,), headroom=(0.5,))
    return RunReport(
        runtime="none", runtime_version="0", threads=1, stage=Stage.RUN, bins=bins, thermal=thermal
    )


@pytest.mark.parametrize(
    ("levels", "first_ms", "plateau_ms", "slower_after_s", "shape"),
    [
        ([(60, 20)], 20, 20, None, Shape.STEADY),
        ([(40, 20), (80, 30)], 20, 30, 40, Shape.SLOWING),
        ([(30, 20), (30, 24), (60, 36)], 20, 36, 30, Shape.SLOWING),
        ([(20, 30), (100, 20)], 30, 20, None, Shape.WARMING),
        ([(60, 20), (30, 40), (30, 20)], 20, 20, 60, Shape.WARMING),
        ([(40, 20), (40, 20.5)], 20, 20, None, Shape.STEADY),
        ([(9, 20)], 20, 20, None, None),
        ([(1, 20)], 20, 20, None, None),
    ],
)
def test_a_series_has_a_first_level_and_a_plateau(levels, first_ms, plateau_ms, slower_after_s, shape):
    sustained = sustained_of(report_of(*levels), 120, TOLERANCE)

    assert sustained.error is None
    assert sustained.first_level_ns == pytest.approx(first_ms * MS, rel=0.03)
    assert sustained.plateau_ns == pytest.approx(plateau_ms * MS, rel=0.03)
    assert sustained.slower_after_ns == (None if slower_after_s is None else slower_after_s * S)
    assert sustained.shape == shape
    assert sustained.thermal.headroom == (0.5,)
    assert sustained_of(sustained, 120, TOLERANCE) == sustained, "derived again"


def test_a_pass_is_one_run_with_a_short_warm_up_and_its_own_deadline():
    asked = []

    def run(plan):
        asked.append(plan)
        return type("Run", (), {"report": report_of((30, 20))})

    sustained = made(run, sustained=900)["sustained"]

    assert sustained.seconds == 900 and sustained.bins.runs == (10,) * 30
    (plan,) = asked
    assert plan.continuous_s == 900 and plan.stage is Stage.SUSTAINED
    assert plan.bounds.warmup_max_s == 1.0
    assert pass_limits(CANARY_JOB, SETTINGS, 900).max_s == 900


def test_a_device_that_fails_in_a_pass_and_a_refusal_are_the_result():
    def failing(plan):
        raise DeviceFailure(Fault.APP_CRASHED, Stage.RUN, "the app crashed: hot")

    fields = made(failing, sustained=60, energy=30, counters=10)
    reasons = fields["sustained"].error, fields["energy_error"], fields["counters"].error
    assert reasons == ("the app crashed: hot",) * 3
    refused = report_of((1, 20)).model_copy(update={"bins": None, "error": "no memory"})
    assert sustained_of(refused, 60, TOLERANCE).error == "no memory"


@pytest.mark.parametrize(
    "invalid",
    [{"end_ns": ()}, {"runs": (1,)}, {"runs": (1, 0)}, {"end_ns": (5, 5)}, {"end_ns": (0, 5)}],
)
def test_a_series_that_cannot_be_is_rejected(invalid):
    with pytest.raises(ValueError, match="Bins"):
        Bins(**{"end_ns": (1, 2), "runs": (1, 1), "median_ns": (1, 1)} | invalid)


def test_bins_end_with_the_inference_that_ends_after_their_second():
    now = [0]

    def invoke():
        now[0] += 400 * MS

    runs = continuous_runs(invoke, lambda: now[0], 2)
    assert (runs.end_ns, runs.runs, runs.median_ns) == ([1200 * MS, 2000 * MS], [3, 2], [400 * MS] * 2)
