"""The supervisor restarts workers, stops them gracefully, and leaves no orphans."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conftest import embedded_settings
from integration.local.observing import processes_of
from nnlite.local import Supervisor, Worker, local_instance, workers_lock
from waiting import HANG_S, end_all, is_alive, wait_until

PROGRAMS = Path(__file__).parent / "programs"


def worker(home: Path, name: str, obeys: str = "yes", **more: object) -> Worker:
    argv = [sys.executable, "-S", PROGRAMS / "event_log_worker.py", str(home), name, obeys]
    return Worker(name=name, argv=argv, **more)


def event_log(home: Path) -> list[str]:
    path = home / "event_log"
    return path.read_text().splitlines() if path.exists() else []


def pid_of(home: Path, what: str) -> int:
    """Wait for the latest entry of the event log that begins so, and return the PID in it."""
    wait_until(lambda: any(line.startswith(what) for line in event_log(home)), f"the event log says: {what}")
    return int([line for line in event_log(home) if line.startswith(what)][-1].split()[-1])


@pytest.fixture
def instance(home):
    """After the time of its stop, what a worker's child still does is ended."""
    return local_instance(embedded_settings(home, stop_timeout_s=1))


def test_each_worker_leads_a_session_of_its_own_and_writes_its_log(home, instance):
    speaking = Worker(name="speaking", argv=["sh", "-c", "echo hello; exec sleep 3600"])
    with Supervisor(instance, [speaking, worker(home, "a")]) as supervisor:
        pids = [status.pid for status in supervisor.status()]
        assert [os.getsid(pid) for pid in pids] == pids
        wait_until(lambda: (home / "logs" / "speaking.log").read_text() == "hello\n", "the log is written")


def test_ranks_are_stopped_one_after_the_other(home):
    patient = local_instance(embedded_settings(home, stop_timeout_s=HANG_S))
    workers = [
        worker(home, "reaper", "together", stop_rank=1),
        *(worker(home, name, "together") for name in ("convert", "benchmark")),
    ]
    with Supervisor(patient, workers):
        for name in ("reaper", "convert", "benchmark"):
            pid_of(home, f"{name} runs")
    ends = [line for line in event_log(home) if line.endswith(("asked", "ended"))]
    assert set(ends[:2]) == {"convert asked", "benchmark asked"}
    assert set(ends[2:4]) == {"convert ended", "benchmark ended"}
    assert ends[4:] == ["reaper asked", "reaper ended"]


def test_a_worker_that_does_not_stop_is_killed_with_its_session(home):
    instance = local_instance(embedded_settings(home, stop_timeout_s=10))
    with Supervisor(instance, [worker(home, "stubborn", "no")]):
        pids = pid_of(home, "stubborn runs"), pid_of(home, "stubborn has a child")
    assert "stubborn asked" in event_log(home)
    assert not any(psutil.pid_exists(pid) and is_alive(psutil.Process(pid)) for pid in pids)
    assert not (home / "workers.json").exists()


def test_a_worker_that_ends_is_started_again_whatever_its_exit_status(home, instance):
    with Supervisor(instance, [Worker(name="brief", argv=["sh", "-c", "exit 0"])]) as supervisor:
        wait_until(lambda: supervisor.status()[0].restarts >= 2, "it was started again, twice")
        assert supervisor.status()[0].exit_status == 0


def test_the_session_of_a_killed_worker_is_ended_before_a_restart(home, instance):
    with Supervisor(instance, [worker(home, "a")]) as supervisor:
        first = pid_of(home, "a runs")
        orphan = psutil.Process(pid_of(home, "a has a child"))
        psutil.Process(first).kill()
        wait_until(lambda: not is_alive(orphan), "the child of the killed worker is gone")
        wait_until(lambda: pid_of(home, "a runs") != first, "the worker is started again")
        assert supervisor.status()[0].exit_status == -9


def test_a_missing_program_is_retried_and_logged(home, instance):
    with Supervisor(instance, [Worker(name="missing", argv=["/no/such/program"])]) as supervisor:
        wait_until(lambda: supervisor.status()[0].restarts >= 1, "it is tried again")
    assert "/no/such/program" in (home / "logs" / "missing.log").read_text()


def test_workers_end_soon_after_their_supervisor_is_killed(home):
    with subprocess.Popen(
        [sys.executable, PROGRAMS / "supervisor_owner.py", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout.readline() == b"up\n"
        pid_of(home, "orderly has a child")
        pid_of(home, "stubborn has a child")
        owner.kill()
    wait_until(lambda: not processes_of(home), "workers, servers and their daemon are gone")
    assert {"orderly asked", "orderly ended", "stubborn asked"} <= set(event_log(home))
    assert not (home / "workers.json").exists()


def test_the_next_supervisor_ends_orphans_when_there_is_no_server_daemon(home, instance):
    with subprocess.Popen(
        [sys.executable, PROGRAMS / "supervisor_owner.py", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout.readline() == b"up\n"
        left = psutil.Process(pid_of(home, "stubborn has a child"))
        end_all(
            process for process in processes_of(home) if "nnlite.local.server_daemon" in process.cmdline()
        )
        owner.kill()
    assert is_alive(left)
    with Supervisor(instance, [worker(home, "new")]):
        assert not is_alive(left)
    end_all(processes_of(home))  # the servers: nobody was left to stop them


def test_one_process_runs_the_workers_of_a_home(home):
    settings = embedded_settings(home)
    with workers_lock(settings) as first, workers_lock(settings) as second:
        assert (first(), second(), first()) == (True, False, True)
    with workers_lock(settings) as again:
        assert again()
