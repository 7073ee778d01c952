"""Counters of the kernel around a run, and the cause of noise that they name."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nnlite.reports.schema import Disturbance
from nnlite.vocabulary import Reason, Verdict
from nnlite_benchmark.protocol.analysis.disturbance import MIN_WINDOW_S, Snapshot, between, snapshot
from nnlite_benchmark.protocol.analysis.noise import UNKNOWN, noise_cause
from waiting import HANG_S

#: user, nice, system, idle, iowait, irq, softirq, steal, guest, guest nice: in ticks of 10 ms.
STAT = """cpu  1 1 1 1 1 1 1 1 0 0
cpu0 100 10 20 500 50 3 2 40 7 0
cpu1 900 0 0 0 0 0 0 0 0 0
intr 1
"""


def proc(folder: Path, **files: str) -> Path:
    for name, text in {"stat": STAT, **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def cause(verdict: Verdict = Verdict.NOISY, *reasons: Reason, **seen: object) -> str | None:
    return noise_cause(verdict, reasons, Disturbance(window_ns=2_000_000_000, cores=2, **seen))


def test_times_are_those_of_the_cores_that_measure(tmp_path):
    seen = snapshot([0], proc(tmp_path))
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    assert (seen.busy_s, seen.steal_s) == (135 / ticks_per_s, 40 / ticks_per_s)


@pytest.mark.parametrize("stat", ["", "cpu0 1 2 3\n", "cpu1 1 2 3 4 5 6 7 8\n"])
def test_unreadable_times_are_unknown(tmp_path, stat):
    seen = snapshot([0], proc(tmp_path, stat=stat))
    assert (seen.busy_s, seen.steal_s) == (None, None)


def test_counters_are_summed_over_the_threads(tmp_path):
    status = "Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n"
    files = {f"self__task__{number}__status": status for number in (1, 2)}
    files |= {"self__task__1__sched": "se.nr_migrations                             :                    5\n"}
    seen = snapshot([0], proc(tmp_path, **files))
    assert (seen.voluntary_switches, seen.involuntary_switches, seen.migrations) == (6, 8, 5)


def test_pressure_is_the_share_of_time_in_which_something_waited(tmp_path):
    before = snapshot([0], proc(tmp_path, pressure__io="some avg10=0.00 total=1000000\nfull total=9\n"))
    after = Snapshot(at_s=before.at_s + 4, own_s=before.own_s, waited_s={"io": 2.0})
    seen = between(before, after, cores=1)
    assert (seen["io_pressure"], seen["cpu_pressure"]) == (0.25, None)


def test_pressure_that_is_corrected_downwards_is_none(tmp_path):
    before = snapshot([0], proc(tmp_path, pressure__io="some avg10=0.00 total=1000000\n"))
    after = replace(before, at_s=before.at_s + 2, waited_s={"io": 0.5})
    assert between(before, after, 1)["io_pressure"] == 0


def test_foreign_load_is_the_time_in_use_without_the_own():
    before = Snapshot(at_s=0, own_s=1, busy_s=10, steal_s=1)
    after = Snapshot(at_s=2, own_s=2, busy_s=14, steal_s=1.4)
    seen = Disturbance(**between(before, after, cores=2))
    assert (seen.foreign_cores, seen.steal) == (1.5, pytest.approx(0.1))


def test_a_window_that_is_short_for_ticks_has_no_load():
    before, after = Snapshot(at_s=0, own_s=0, busy_s=0), Snapshot(at_s=0.1, own_s=0, busy_s=0.1)
    assert between(before, after, cores=1)["foreign_cores"] is None


@pytest.mark.process
def test_a_busy_process_on_the_same_core_is_the_cause():
    cores = sorted(os.sched_getaffinity(0))
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(0, cores[:1])
        os.sched_setaffinity(busy.pid, cores[:1])
        before, until_s = snapshot(cores[:1]), time.monotonic() + 2 * MIN_WINDOW_S
        while time.monotonic() < until_s:
            pass
        seen = Disturbance(**between(before, snapshot(cores[:1]), cores=1))
    finally:
        os.sched_setaffinity(0, cores)
        busy.kill()
        busy.wait(HANG_S)
    assert "other processes used" in str(noise_cause(Verdict.NOISY, (Reason.SPREAD,), seen))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({}, UNKNOWN),
        ({"steal": 0.14}, "steal 14 %"),
        ({"foreign_cores": 1.8}, "other processes used 1.8 of 2 cores"),
        ({"foreign_cores": 0.19}, UNKNOWN),
        ({"frequency_min_khz": 1_200_000, "frequency_max_khz": 2_000_000}, "frequency fell 40 %"),
        ({"steal": 0.05, "memory_pressure": 0.06}, "steal 5 %, memory pressure 6 %"),
        ({"cpu_pressure": 0.5}, "CPU pressure 50 %"),
        ({"cpu_pressure": 0.5, "steal": 0.5}, "steal 50 %"),
        ({"migrations": 80}, "moves between cores: 40 per second"),
        ({"major_faults": 20, "minor_faults": 10_000}, "page faults from disk: 10 per second"),
    ],
)
def test_causes_in_words(seen, words):
    assert cause(**seen) == words


def test_reasons_that_are_causes_come_first():
    assert cause(Verdict.NOISY, Reason.NOT_QUIET, steal=0.5) == (
        "conversions on the machine were not paused, steal 50 %"
    )
    assert cause(Verdict.NOISY, Reason.NOT_TOP_APP) == "the app was not in front"
    assert noise_cause(Verdict.NOISY, (Reason.SPREAD,), None, 1) == "thermal status 1", (
        "warm, not yet throttled"
    )
    assert noise_cause(Verdict.NOISY, (Reason.SPREAD,), None, 0) == UNKNOWN
    assert noise_cause(Verdict.THROTTLED, (Reason.THERMAL,), None, 3) == "thermal status 3"


@pytest.mark.parametrize("verdict", [Verdict.VALID, Verdict.INVALID])
def test_other_verdicts_have_no_cause(verdict):
    assert cause(verdict, steal=0.5) is None
