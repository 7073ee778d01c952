"""Measuring processes that are forks of a server: as isolated as new ones."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Stage
from nnlite_benchmark.host import launching, process
from nnlite_benchmark.host.launching import ForkServer
from nnlite_benchmark.host.process import run_process
from waiting import HANG_S, JumpingClock, end

LIMITS = MeasurementSettings(
    initialize_timeout_s=HANG_S, warmup_max_s=HANG_S, max_s=HANG_S, few_runs_max_s=HANG_S, grace_s=HANG_S
)
ENDLESS = {"min_runs": 10**9, "max_s": 3600}
NEVER = threading.Event()
PARENT = Path(__file__).parent / "programs" / "measuring_parent.py"


@pytest.fixture
def server():
    server = ForkServer(huge_pages=True)
    yield server
    server.close()


class Heard(list):
    """Stages with the PID of the measuring process; calls `act` with the PID at one of them."""

    def __init__(self, stage=None, act=None):
        self.stage, self.act = stage, act

    def __call__(self, stage, pid):
        self.append((stage, pid))
        if stage is self.stage:
            self.act(pid)

    @property
    def pids(self):
        return {pid for _, pid in self}


def test_runs_are_forks_of_one_server_and_leave_no_process(server, make_request):
    parents, threads = [], []

    def look(pid):
        parents.append(psutil.Process(pid).ppid())
        threads.append(psutil.Process(parents[-1]).num_threads())

    heard = Heard(Stage.RUN, look)
    reports = [
        run_process(make_request(), LIMITS, stop=NEVER, server=server, on_stage=heard) for _ in range(2)
    ]

    assert [report.runtime for report in reports] == ["LiteRT", "LiteRT"]
    assert len(heard.pids) == 2
    assert parents[0] == parents[1] != os.getpid()
    assert threads == [1, 1], "a fork would lose the others"
    assert not psutil.Process(parents[0]).children()


def test_memory_figures_are_those_of_a_new_process(server, make_request):
    forked = run_process(make_request(), LIMITS, stop=NEVER, server=server)
    new = run_process(make_request(), LIMITS, stop=NEVER)

    assert forked.baseline_rss_kb == pytest.approx(new.baseline_rss_kb, rel=0.1)
    growths_kb = [report.peak_rss_kb - report.baseline_rss_kb for report in (forked, new)]
    assert growths_kb[0] == pytest.approx(growths_kb[1], rel=0.1)


def test_a_fork_has_its_own_group_its_own_cores_and_no_credentials(server, make_request, monkeypatch):
    monkeypatch.setenv("NNLITE_DATABASE_URL", "postgresql://u:secret@h/d")
    seen = []
    heard = Heard(
        Stage.RUN, lambda pid: seen.append((os.getpgid(pid), Path(f"/proc/{pid}/environ").read_bytes()))
    )

    run_process(make_request(), LIMITS, stop=NEVER, server=server, on_stage=heard)

    ((group, environment),) = seen
    assert {group} == heard.pids
    assert b"secret" not in environment


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_is_a_failure_of_its_run_alone(server, make_request, number):
    with pytest.raises(Failure, match=f"ended by {number.name} at run") as failed:
        run_process(
            make_request(**ENDLESS),
            LIMITS,
            stop=NEVER,
            server=server,
            on_stage=Heard(Stage.RUN, lambda pid: os.kill(pid, number)),
        )
    assert failed.value.failure_class is FailureClass.DEVICE
    assert "XNNPACK" in failed.value.details["stderr_tail"]

    assert run_process(make_request(), LIMITS, stop=NEVER, server=server).stage is Stage.RUN


def test_a_fork_that_hangs_is_killed_at_its_deadline(server, make_request, monkeypatch):
    clock = JumpingClock()
    monkeypatch.setattr(process, "time", clock)
    heard = Heard(Stage.RUN, lambda pid: (os.kill(pid, signal.SIGSTOP), clock.jump(10 * HANG_S)))

    with pytest.raises(Failure, match="did not finish run within"):
        run_process(make_request(**ENDLESS), LIMITS, stop=NEVER, server=server, on_stage=heard)

    (pid,) = heard.pids
    assert not psutil.pid_exists(pid)


def test_a_stop_ends_a_fork(server, make_request):
    stop = threading.Event()
    heard = Heard(Stage.RUN, lambda _pid: stop.set())

    with pytest.raises(Stopped):
        run_process(make_request(**ENDLESS), LIMITS, stop=stop, server=server, on_stage=heard)

    (pid,) = heard.pids
    assert not psutil.pid_exists(pid)


def test_a_server_that_is_killed_takes_its_run_with_it_and_is_replaced(server, make_request):
    heard = Heard(Stage.RUN, lambda pid: os.kill(psutil.Process(pid).ppid(), signal.SIGKILL))

    with pytest.raises(Failure, match="ended by SIGKILL at run"):
        run_process(make_request(**ENDLESS), LIMITS, stop=NEVER, server=server, on_stage=heard)

    assert run_process(make_request(), LIMITS, stop=NEVER, server=server).stage is Stage.RUN


def test_a_server_that_cannot_start_is_a_device_failure_with_what_it_wrote(server, make_request, monkeypatch):
    monkeypatch.setattr(launching.sys, "executable", "/bin/false")

    with pytest.raises(Failure, match="the fork server failed") as failed:
        run_process(make_request(), LIMITS, stop=NEVER, server=server)

    assert failed.value.stage is Stage.INITIALIZE


def test_a_server_is_replaced_after_its_runs(server, make_request, monkeypatch):
    monkeypatch.setattr(launching, "RUNS_OF_A_SERVER", 1)
    parents = []
    heard = Heard(Stage.RUN, lambda pid: parents.append(psutil.Process(pid).ppid()))

    for _ in range(2):
        run_process(make_request(), LIMITS, stop=NEVER, server=server, on_stage=heard)

    assert len(set(parents)) == 2
    assert not psutil.pid_exists(parents[0])


def test_server_and_fork_die_with_the_worker(make_request):
    request = make_request(**ENDLESS)
    parent = subprocess.Popen(
        [sys.executable, PARENT, request.to_json(), "fork"], stdout=subprocess.PIPE, text=True
    )
    fork = next(psutil.Process(int(line.split()[1])) for line in parent.stdout if line.startswith("run "))
    forking = fork.parent()

    end(parent)

    fork.wait(timeout=HANG_S)
    forking.wait(timeout=HANG_S)
