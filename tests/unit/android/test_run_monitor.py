"""Deadlines of a run of the app, by the host's clock only."""

import pytest

from nnlite.settings import Settings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.shell import CommandResult
from nnlite_benchmark.android.app import run_monitor
from nnlite_benchmark.android.app.run_monitor import RunMonitor
from nnlite_benchmark.device import DeviceFailure

SETTINGS = Settings(_env_file=None)
MEASUREMENT, ANDROID = SETTINGS.measurement, SETTINGS.android


ENDED = CommandResult(stdout="", stderr="", status=0)


class Clock:
    """The host's monotonic clock, in the test's hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(run_monitor, "time", clock)
    return clock


@pytest.fixture
def run(clock):
    return RunMonitor(SETTINGS, MEASUREMENT, lambda _stage: None, lambda: None)


def stage(name, first_ns=None):
    first = f"INSTRUMENTATION_STATUS: first_inference_ns={first_ns}\n" if first_ns is not None else ""
    text = f"{first}INSTRUMENTATION_STATUS: pid=7\nINSTRUMENTATION_STATUS: stage={name}\n"
    return f"{text}INSTRUMENTATION_STATUS_CODE: 1\n".encode()


def hangs_after(run, clock, limit_s):
    """Whether the run is let be until `limit_s`, and not beyond."""
    begun_s = clock.now_s
    clock.now_s = begun_s + limit_s
    run.check()
    clock.now_s += 1
    with pytest.raises(DeviceFailure) as caught:
        run.check()
    return caught.value


def test_an_app_that_does_not_begin_is_hung(run, clock):
    failure = hangs_after(run, clock, ANDROID.app_start_timeout_s)
    assert (failure.fault, failure.stage) == (Fault.APP_HUNG, Stage.INITIALIZE)
    assert "does not begin" in failure.reason


def test_each_stage_has_its_own_limit(run, clock):
    run.feed(stage("initialize"))
    clock.now_s += 30
    run.feed(stage("warm-up", first_ns=20 * 10**9))
    clock.now_s += 5
    run.feed(stage("run", first_ns=20 * 10**9))
    run_s = MEASUREMENT.gate_learn_s + max(MEASUREMENT.max_s, MEASUREMENT.few_runs_max_s)
    failure = hangs_after(run, clock, run_s + MEASUREMENT.grace_s + 20 + ANDROID.pull_grace_s)
    assert (failure.fault, failure.stage) == (Fault.APP_HUNG, Stage.RUN)


def test_the_reported_first_inference_is_limited_by_the_hosts_clock(run, clock):
    run.feed(stage("initialize"))
    clock.now_s += 3
    run.feed(stage("warm-up", first_ns=10**17))
    hangs_after(run, clock, MEASUREMENT.warmup_max_s + MEASUREMENT.grace_s + 3)


def test_an_invalid_chunk_makes_the_run_garbled(run):
    piece = "data=\nINSTRUMENTATION_STATUS: file=../x\nINSTRUMENTATION_STATUS: piece=0\n"
    run.feed(f"INSTRUMENTATION_STATUS: {piece}INSTRUMENTATION_STATUS: pieces=1\n".encode())
    run.feed(b"INSTRUMENTATION_STATUS_CODE: 2\n")
    report = '{"runtime": "x", "runtime_version": "", "threads": 1, "stage": "run"}'
    run.feed(f"INSTRUMENTATION_RESULT: report={report}\nINSTRUMENTATION_CODE: -1\n".encode())
    assert "'../x' is no plain name" in run.finish(ENDED).why


def test_a_hundred_thousand_empty_statuses_are_parsed(run):
    for _ in range(10):
        run.feed(b"INSTRUMENTATION_STATUS: x=y\nINSTRUMENTATION_STATUS_CODE: 5\n" * 10_000)
    run.check()
    assert "ends without" in run.finish(ENDED).why


def test_a_window_that_does_not_come_up_is_passed_on_at_once_and_once(clock):
    asked = []
    run = RunMonitor(SETTINGS, MEASUREMENT, lambda _stage: None, lambda: asked.append("window"))

    run.feed(b"INSTRUMENTATION_STATUS_CODE: 3\n")
    assert asked == ["window"]
    run.feed(b"INSTRUMENTATION_STATUS_CODE: 3\n" * 1000)
    assert asked == ["window"], "each time would cost three commands"
