"""Children and their groups: `nnlite.host.child_process`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnlite.host import processes
from nnlite.host.child_process import (
    OwnedProcess,
    how_it_ended,
    kill_group,
    minimal_environment,
    start,
    tail,
)
from waiting import HANG_S, wait_until

pytestmark = pytest.mark.process

#: Starts a child that ignores SIGTERM, prints both PIDs and sleeps.
FAMILY = Path(__file__).parent / "programs" / "family.py"


@pytest.fixture
def owned(tmp_path: Path):
    process = OwnedProcess("family", tmp_path)
    yield process
    process.stop(0)


def started(process: OwnedProcess) -> list[processes.ProcessIdentity]:
    process.start([sys.executable, "-S", str(FAMILY)], dict(os.environ))
    wait_until(lambda: len(process.log_tail().split()) == 2, "the family is there")
    return [processes.identify(int(pid)) for pid in process.log_tail().split()]


def test_stop_ends_the_whole_group(owned):
    family = started(owned)
    assert owned.pid == family[0].pid
    owned.stop(5)
    assert not any(member.alive for member in family)
    assert not owned.alive


def test_a_stopped_group_is_ended_too(owned):
    family = started(owned)
    for member in family:
        os.kill(member.pid, 19)
    owned.stop(0.1)
    assert not any(member.alive for member in family)


def test_an_orphan_of_a_killed_worker_is_ended_by_the_next_worker(owned, tmp_path):
    family = started(owned)
    OwnedProcess("family", tmp_path).end_orphan()
    assert not any(member.alive for member in family)


def test_a_process_with_a_reused_pid_is_not_ended(owned, tmp_path):
    bystander = started(owned)[0]
    note = f'{{"pid": {bystander.pid}, "started": "an earlier boot:1"}}'
    (tmp_path / "other.process.json").write_text(note)
    OwnedProcess("other", tmp_path).end_orphan()
    assert bystander.alive


@pytest.mark.parametrize("note", ["", "null", "{}", '{"pid": "x", "started": 1}'])
def test_a_damaged_state_file_is_ignored(tmp_path, note):
    (tmp_path / "other.process.json").write_text(note)
    OwnedProcess("other", tmp_path).end_orphan()


def test_its_exit_status_and_its_last_output_are_known(tmp_path):
    process = OwnedProcess("short", tmp_path)
    process.start([sys.executable, "-c", "import sys; sys.exit('no such AVD')"], dict(os.environ))
    wait_until(lambda: not process.alive, "it ends")
    assert (process.exit_status, process.log_tail()) == (1, "no such AVD")
    assert process.how_it_ended == "exited with status 1"


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exited with status 0"), (-9, "was ended by SIGKILL"), (-4242, "was ended by signal 4242")],
)
def test_an_exit_status_is_put_into_words(status, text):
    assert how_it_ended(status) == text


def test_a_group_is_killed_and_its_pipes_are_closed(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        child = start(
            [sys.executable, "-S", str(FAMILY)],
            log,
            environment=None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    family = [processes.identify(int(pid)) for pid in child.stdout.readline().split()]
    kill_group(child)
    assert all(member.wait(HANG_S) for member in family)
    assert child.stdin.closed and child.stdout.closed
    kill_group(child)


def test_foreign_code_gets_no_credentials(monkeypatch):
    monkeypatch.setenv("NNLITE_DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setenv("VIRTUAL_ENV", "/venv")
    assert "VIRTUAL_ENV" not in minimal_environment()
    assert minimal_environment("VIRTUAL_ENV")["VIRTUAL_ENV"] == "/venv"
    assert not [name for name in minimal_environment() if name.startswith("NNLITE_")]


def test_the_end_of_a_log_is_read_and_a_missing_one_is_empty(tmp_path):
    (tmp_path / "log").write_bytes(b"x" * 100 + b" last\0\n")
    assert tail(tmp_path / "log", 8) == "x last\n"
    assert tail(tmp_path / "none") == ""
