"""Turns between conversions and measurements, with real locks and real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
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

HOLDER = """
import os, sys
from pathlib import Path
from nnlite.host.cores import Cores
from nnlite.host.quiet import ConverterLock
from nnlite.reports.schema import QuietMode
turn = ConverterLock(Path(sys.argv[1]), Cores(mode=QuietMode.TIME_SLICED, measuring=(0,), converting=(0,)))
assert turn.tick()
if sys.argv[2] == "with child" and os.fork() == 0:
    print(os.getpid(), flush=True)
elif sys.argv[2] == "alone":
    print("holds", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path):
    """Foreign descriptors of both files: `want`, `busy`."""
    made = [FileLock(tmp_path / name) for name in ("want", "busy")]
    yield made
    for lock in made:
        lock.close()


@pytest.fixture
def turn(tmp_path):
    with ConverterLock(tmp_path, TIME_SLICED) as turn:
        yield turn


@pytest.fixture
def measurer(tmp_path):
    measurer = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=HANG_S, batch_s=60)
    yield measurer
    measurer.close()


@pytest.fixture
def impatient(tmp_path):
    measurer = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=0, batch_s=60)
    yield measurer
    measurer.close()


class Converter(threading.Thread):
    """A supervisor in a thread of its own, with a child that is only a flag."""

    def __init__(self, home):
        super().__init__(daemon=True)
        self.turn = ConverterLock(home, TIME_SLICED)
        self.child_runs = threading.Event()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.01):
            (self.child_runs.set if self.turn.tick() else self.child_runs.clear)()
        self.turn.close()


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
    """Start a process that holds `busy` as a conversion's supervisor does."""
    started = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, tmp_path, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        end(process)


def test_a_converter_runs_when_nobody_measures(turn, locks):
    assert turn.tick()
    assert turn.tick()
    assert not locks[1].is_free(), "busy is held while the child runs"


def test_busy_is_released_only_at_the_tick_after_the_child_was_stopped(turn, locks):
    want, busy = locks
    turn.tick()
    assert want.try_exclusive()

    assert not turn.tick()
    assert not busy.is_free(), "the child may still be running"
    assert not turn.tick()
    assert busy.is_free()


def test_a_converter_goes_on_when_want_and_busy_are_free_again(turn, locks):
    want, busy = locks
    want.try_exclusive()
    busy.try_exclusive()

    assert not turn.tick()
    want.release()
    assert not turn.tick(), "busy is still taken"
    busy.release()
    assert turn.tick()


def test_converters_share_busy(turn, tmp_path):
    with ConverterLock(tmp_path, TIME_SLICED) as other:
        assert turn.tick()
        assert other.tick()


def test_a_measurement_begins_only_when_every_converter_stands_still(converter, measurer):
    with measurer.measuring(NEVER) as quietness:
        assert quietness.quiet
        assert not converter.child_runs.is_set()

    assert converter.child_runs.wait(HANG_S)


def test_a_converter_that_does_not_yield_makes_the_machine_not_quiet(turn, impatient, locks):
    turn.tick()

    with impatient.measuring(NEVER) as quietness:
        assert not quietness.quiet
        assert locks[0].is_free(), "nothing is held that was not earned"


def test_two_measurers_never_measure_together(measurer, impatient):
    with measurer.measuring(NEVER) as first, impatient.measuring(NEVER) as second:
        assert (first.quiet, second.quiet) == (True, False)


def test_locks_are_free_after_a_measurement_that_failed(measurer, locks):
    with pytest.raises(RuntimeError), measurer.measuring(NEVER):
        raise RuntimeError

    assert all(lock.is_free() for lock in locks)


def test_the_lock_of_a_killed_supervisor_is_free_at_once(holder, impatient):
    process, _ = holder("alone")
    with impatient.measuring(NEVER) as quietness:
        assert not quietness.quiet

    process.send_signal(signal.SIGKILL)
    process.wait(HANG_S)

    with impatient.measuring(NEVER) as quietness:
        assert quietness.quiet


def test_a_child_that_closed_the_descriptors_does_not_hold_the_lock(holder, impatient):
    process, child = holder("with child")
    process.send_signal(signal.SIGKILL)
    process.wait(HANG_S)

    with impatient.measuring(NEVER) as quietness:
        assert quietness.quiet
    os.kill(int(child), signal.SIGKILL)


def test_stop_ends_the_wait_for_a_lock(turn, measurer, locks):
    turn.tick()
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()

    with pytest.raises(Stopped), measurer.measuring(stop):
        pytest.fail("nothing may be measured")

    assert locks[0].is_free()


def test_after_a_batch_converters_run_as_long_as_was_measured(tmp_path, turn, monkeypatch):
    now_s, runs = 0.0, turn.tick()
    ran_s = 0.0

    def pause(_stop, pause_s):
        nonlocal now_s, ran_s, runs
        now_s += pause_s
        ran_s += pause_s if runs else 0.0
        runs = turn.tick()

    monkeypatch.setattr(quiet, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(quiet, "_pause", pause)
    measurer = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=20, batch_s=20)
    with measurer.measuring(NEVER) as quietness:
        assert quietness.quiet and not runs
        now_s += 30  # the measuring itself
    ran_before_s = ran_s

    with measurer.measuring(NEVER) as quietness:
        assert quietness.quiet and not runs

    assert quietness.waited_s >= 30
    assert ran_s - ran_before_s == pytest.approx(30, abs=1)
    measurer.close()


def test_a_batch_goes_on_without_a_turn_until_it_is_over(tmp_path, converter, measurer):
    for _ in range(3):
        with measurer.measuring(NEVER) as quietness:
            assert quietness.quiet
    assert measurer._owed_s() == 0.0


def test_no_turn_is_kept_when_no_converter_runs(tmp_path):
    owed_s = 3600
    measurer = MeasurementLock(tmp_path, TIME_SLICED, timeout_s=HANG_S, batch_s=owed_s / 2)
    measurer._note_turn(time.monotonic() - owed_s)
    assert measurer._owed_s() > owed_s / 2

    with measurer.measuring(NEVER) as quietness:
        assert quietness.quiet
        assert quietness.waited_s < owed_s
    measurer.close()


def test_a_half_written_ledger_is_as_good_as_none(tmp_path, measurer):
    (tmp_path / "want").write_text('{"used_s": 1')

    with measurer.measuring(NEVER) as quietness:
        assert quietness.quiet


def test_with_cores_apart_converters_never_stand_still(tmp_path, locks):
    measurer = MeasurementLock(tmp_path, APART, timeout_s=0, batch_s=0)
    with ConverterLock(tmp_path, APART) as turn, measurer.measuring(NEVER) as quietness:
        assert (quietness.quiet, quietness.mode) == (True, QuietMode.PINNED_CORES)
        assert turn.tick()
        assert not locks[0].is_free(), "want still keeps two measurers apart"
    measurer.close()
