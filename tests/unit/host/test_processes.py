"""Process identities and sessions: `nnlite.host.processes`."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nnlite.host import processes
from waiting import HANG_S

pytestmark = pytest.mark.process

#: Says its child's PID, then both wait; neither listens to SIGTERM.
FAMILY = Path(__file__).parent / "programs" / "deaf_pair.py"


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def family():
    with subprocess.Popen(
        [sys.executable, "-S", FAMILY], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        yield leader, int(leader.stdout.readline())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)


def test_a_zombie_is_not_alive(sleeper):
    identity = processes.identify(sleeper.pid)
    assert identity.alive
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive


def test_a_process_with_a_reused_pid_is_not_signalled(sleeper):
    earlier = replace(processes.identify(sleeper.pid), started="another boot:1")
    assert not earlier.alive
    earlier.signal(signal.SIGKILL)
    processes.end(earlier, [signal.SIGTERM], timeout_s=1)
    processes.kill_session(earlier, timeout_s=1)
    assert sleeper.poll() is None


def test_a_process_that_ignores_sigterm_is_killed(family):
    leader, _ = family
    identity = processes.identify(leader.pid)
    processes.end(identity, [signal.SIGTERM], timeout_s=0.1)
    assert not identity.alive


def test_a_session_is_killed_even_when_its_leader_has_ended(family):
    leader, child = family
    identity, orphan = processes.identify(leader.pid), processes.identify(child)
    leader.kill()
    leader.wait()
    assert orphan.alive
    processes.kill_session(identity, timeout_s=HANG_S)
    assert not orphan.alive


def test_a_program_is_found_by_its_working_directory(tmp_path):
    with subprocess.Popen(["sleep", "600"], cwd=tmp_path) as process:
        name = Path(psutil.Process(process.pid).exe()).name
        assert [entry.pid for entry in processes.running_in(tmp_path, name)] == [process.pid]
        assert not list(processes.running_in(tmp_path, "postgres"))
        assert not list(processes.running_in(tmp_path.parent, name))
        process.kill()
