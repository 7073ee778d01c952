"""Noise isolation between conversions and measurements, with real locks and processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnlite.errors import Stopped
from nnlite.host import quiet
from nnlite.host.cores import Cores
from nnlite.host.locks import FileLock
from nnlite.host.quiet import ConverterLock, MeasurementLock
from nnlite.vocabulary import QuietMode
from waiting import HANG_S, end

TIME_SLICED = Cores(mode=QuietMode.TIME_SLICED, measuring=(0,), converting=(0,))
APART = Cores(mode=QuietMode.PINNED_CORES, measuring=(1,), converting=(0,))
NEVER = threading.Event()

HOLDER = Path(__file__).parent / "programs" / "lock_holder.py"


@pytest.fixture
def locks(tmp_path):
    """Descriptors of both lock files, as another process has them."""
    locks = [FileLock(tmp_path / name) for name in ("request.lock", "activity.lock")]
    yield locks
    for lock in locks:
        lock.close()


@pytest.fixture
def conversion(tmp_path):
    with ConverterLock(tmp_path, TIME_SLICED) as conversion:
        yield conversion


@pytest.fixture
def measurement(tmp_path):
    measurement = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=HANG_S, batch_s=60)
    yield measurement
    measurement.close()


@pytest.fixture
def impatient(tmp_path):
    measurement = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=0, batch_s=60)
    yield measurement
    measurement.close()


class Converter(threading.Thread):
    """A supervisor in a thread of its own, with a child that is only a flag."""

    def __init__(self, home):
        super().__init__(daemon=True)
        self.conversion = ConverterLock(home, TIME_SLICED)
        self.child_runs = threading.Event()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.01):
            (self.child_runs.set if self.conversion.tick() else self.child_runs.clear)()
        self.conversion.close()


@pytest.fixture
def converter(tmp_path):
    converter = Converter(tmp_path)
    converter.start()
    assert converter.child_runs.wait(HANG_S)
    yield converter
    converter.ended.set()
    converter.join(HANG_S)


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds `activity.lock` as a conversion's supervisor does."""
    started = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, HOLDER, tmp_path, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        end(process)


def test_a_conversion_runs_while_nothing_is_measured(conversion, locks):
    assert conversion.tick()
    assert conversion.tick()
    assert not locks[1].is_free(), "the lock is held while the child runs"


def test_the_activity_lock_is_released_at_the_tick_after_the_child_was_stopped(conversion, locks):
    request, activity = locks
    conversion.tick()
    assert request.try_exclusive()

    assert not conversion.tick()
    assert not activity.is_free(), "the child may still be running"
    assert not conversion.tick()
    assert activity.is_free()


def test_a_conversion_continues_when_both_locks_are_free_again(conversion, locks):
    request, activity = locks
    request.try_exclusive()
    activity.try_exclusive()

    assert not conversion.tick()
    request.release()
    assert not conversion.tick(), "activity.lock is still held"
    activity.release()
    assert conversion.tick()


def test_conversions_share_the_activity_lock(conversion, tmp_path):
    with ConverterLock(tmp_path, TIME_SLICED) as other:
        assert conversion.tick()
        assert other.tick()


def test_a_measurement_begins_when_every_conversion_is_stopped(converter, measurement):
    with measurement.measuring(NEVER) as result:
        assert result.quiet
        assert not converter.child_runs.is_set()

    assert converter.child_runs.wait(HANG_S)


def test_a_conversion_that_does_not_stop_makes_the_result_not_quiet(conversion, impatient, locks):
    conversion.tick()

    with impatient.measuring(NEVER) as result:
        assert not result.quiet
        assert locks[0].is_free(), "no lock is kept"


def test_two_measurements_exclude_each_other(measurement, impatient):
    with measurement.measuring(NEVER) as first, impatient.measuring(NEVER) as second:
        assert (first.quiet, second.quiet) == (True, False)


def test_locks_are_free_after_a_measurement_that_failed(measurement, locks):
    with pytest.raises(RuntimeError), measurement.measuring(NEVER):
        raise RuntimeError

    assert all(lock.is_free() for lock in locks)


@pytest.mark.process
def test_the_lock_of_a_killed_supervisor_is_free_at_once(holder, impatient):
    process, _ = holder("alone")
    with impatient.measuring(NEVER) as result:
        assert not result.quiet

    process.send_signal(signal.SIGKILL)
    process.wait(HANG_S)

    with impatient.measuring(NEVER) as result:
        assert result.quiet


@pytest.mark.process
def test_a_child_that_closed_the_descriptors_does_not_hold_the_lock(holder, impatient):
    process, child = holder("with child")
    process.send_signal(signal.SIGKILL)
    process.wait(HANG_S)

    with impatient.measuring(NEVER) as result:
        assert result.quiet
    os.kill(int(child), signal.SIGKILL)


def test_stop_ends_the_wait_for_a_lock(conversion, measurement, locks):
    conversion.tick()
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()

    with pytest.raises(Stopped), measurement.measuring(stop):
        pytest.fail("nothing may be measured")

    assert locks[0].is_free()


def test_after_a_batch_conversions_run_as_long_as_was_measured(tmp_path, conversion, monkeypatch):
    now_s, runs = 0.0, conversion.tick()
    ran_s = 0.0

    def pause(_stop, pause_s):
        nonlocal now_s, ran_s, runs
        now_s += pause_s
        ran_s += pause_s if runs else 0.0
        runs = conversion.tick()

    monkeypatch.setattr(quiet, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(quiet, "_sleep", pause)
    measurement = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=20, batch_s=20)
    with measurement.measuring(NEVER) as result:
        assert result.quiet and not runs
        now_s += 30  # the measuring itself
    ran_before_s = ran_s

    with measurement.measuring(NEVER) as result:
        assert result.quiet and not runs

    assert result.waited_s >= 30
    assert ran_s - ran_before_s == pytest.approx(30, abs=1)
    measurement.close()


def test_measurements_of_one_batch_do_not_yield(tmp_path, converter, measurement):
    for _ in range(3):
        with measurement.measuring(NEVER) as result:
            assert result.quiet
    assert measurement._time_debt_s() == 0.0


def test_the_time_debt_is_dropped_when_no_conversion_runs(tmp_path):
    debt_s = 3600
    measurement = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=HANG_S, batch_s=debt_s / 2)
    measurement._record_usage(time.monotonic() - debt_s)
    assert measurement._time_debt_s() > debt_s / 2

    with measurement.measuring(NEVER) as result:
        assert result.quiet
        assert result.waited_s < debt_s
    measurement.close()


def test_a_half_written_fair_share_state_is_ignored(tmp_path, measurement):
    (tmp_path / "request.lock").write_text('{"used_s": 1')

    with measurement.measuring(NEVER) as result:
        assert result.quiet


def test_with_pinned_cores_conversions_are_never_stopped(tmp_path, locks):
    measurement = MeasurementLock(tmp_path, APART, timeout_s=0, batch_s=0)
    with ConverterLock(tmp_path, APART) as conversion, measurement.measuring(NEVER) as result:
        assert (result.quiet, result.mode) == (True, QuietMode.PINNED_CORES)
        assert conversion.tick()
        assert not locks[0].is_free(), "two measurements still exclude each other"
    measurement.close()


def undisturbed(measurement):
    with measurement.measuring(NEVER) as result:
        return result.undisturbed


def test_only_a_measurement_that_follows_one_of_the_same_worker_is_undisturbed(measurement, impatient):
    assert [undisturbed(measurement), undisturbed(measurement)] == [False, True]
    assert not undisturbed(impatient), "the first one of its worker"
    assert not undisturbed(measurement), "another worker measured"


def test_a_conversion_that_ran_between_two_measurements_disturbs_the_second(measurement, conversion):
    undisturbed(measurement)
    assert conversion.tick()
    conversion.close()

    assert not undisturbed(measurement)


def test_a_measurement_without_the_lock_leaves_the_next_one_disturbed(conversion, impatient):
    undisturbed(impatient)
    conversion.tick()
    undisturbed(impatient)
    conversion.close()

    assert not undisturbed(impatient)


def test_conversions_on_other_cores_do_not_disturb(tmp_path):
    measurement = MeasurementLock(tmp_path, APART, timeout_s=0, batch_s=0)
    undisturbed(measurement)
    with ConverterLock(tmp_path, APART) as conversion:
        assert conversion.tick()

    assert undisturbed(measurement)
    measurement.close()
