"""Programs of a worker end with all that they started, also those that a killed worker left."""

import os
import sys
from pathlib import Path

import pytest

from nnlite.host import processes
from nnlite_benchmark.android.emulator.owned_process import OwnedProcess
from waiting import wait_until

#: Starts a child that ignores SIGTERM, prints both PIDs and sleeps.
FAMILY = """
import os, signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(3600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
print(os.getpid(), child.pid, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def owned(tmp_path: Path):
    process = OwnedProcess("family", tmp_path)
    yield process
    process.stop(0)


def started(process: OwnedProcess) -> list[processes.ProcessIdentity]:
    process.start([sys.executable, "-c", FAMILY], dict(os.environ))
    wait_until(lambda: len(process.log_tail().split()) == 2, "the family is there")
    return [processes.identify(int(pid)) for pid in process.log_tail().split()]


def test_it_is_ended_with_its_whole_group(owned):
    family = started(owned)
    assert owned.pid == family[0].pid
    owned.stop(5)
    assert not any(member.alive for member in family)
    assert not owned.alive


def test_a_frozen_one_is_ended_too(owned):
    family = started(owned)
    for member in family:
        os.kill(member.pid, 19)
    owned.stop(0.1)
    assert not any(member.alive for member in family)


def test_what_a_killed_worker_left_is_ended_by_the_next(owned, tmp_path):
    family = started(owned)
    OwnedProcess("family", tmp_path).end_leftover()
    assert not any(member.alive for member in family)


def test_nobody_else_is_ended_for_a_reused_pid(owned, tmp_path):
    bystander = started(owned)[0]
    note = f'{{"pid": {bystander.pid}, "started": "an earlier boot:1"}}'
    (tmp_path / "other.process.json").write_text(note)
    OwnedProcess("other", tmp_path).end_leftover()
    assert bystander.alive


@pytest.mark.parametrize("note", ["", "null", "{}", '{"pid": "x", "started": 1}'])
def test_a_broken_note_is_passed_over(tmp_path, note):
    (tmp_path / "other.process.json").write_text(note)
    OwnedProcess("other", tmp_path).end_leftover()


def test_its_end_is_told_with_what_it_said(tmp_path):
    process = OwnedProcess("short", tmp_path)
    process.start([sys.executable, "-c", "import sys; sys.exit('no such AVD')"], dict(os.environ))
    wait_until(lambda: not process.alive, "it ends")
    assert (process.exit_status, process.log_tail()) == (1, "no such AVD")
