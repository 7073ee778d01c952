"""The watchdog ends a worker that stays idle while its queue has messages, and no other."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnlite.worker.watchdog import Watchdog, WorkerLiveness
from waiting import HANG_S, NEVER_S


@pytest.fixture
def liveness() -> WorkerLiveness:
    return WorkerLiveness()


@pytest.fixture
def watchdog(liveness) -> Watchdog:
    return Watchdog(liveness=liveness, queue_has_work=lambda: True, idle_limit_s=0, stop_timeout_s=1)


def test_a_worker_is_not_idle_before_it_consumes(liveness, watchdog):
    assert liveness.idle_s() == 0
    assert not watchdog.stalled(waiting_since_s=0, now_s=1000)


def test_a_ready_worker_without_progress_is_stalled(liveness, watchdog):
    liveness.ready()
    assert watchdog.stalled(waiting_since_s=0, now_s=1000)


def test_a_worker_whose_queue_is_empty_is_not_stalled(liveness, watchdog):
    liveness.ready()
    assert not watchdog.stalled(waiting_since_s=None, now_s=1000)


def test_messages_must_have_waited_as_long_as_the_limit(liveness):
    patient = Watchdog(liveness=liveness, queue_has_work=lambda: True, idle_limit_s=300, stop_timeout_s=1)
    liveness.ready()
    assert not patient.stalled(waiting_since_s=800, now_s=1000)
    assert not patient.stalled(waiting_since_s=0, now_s=1000), "it took up work a moment ago"


def test_a_stopping_worker_is_not_stalled(liveness, watchdog):
    liveness.ready()
    liveness.stop()
    assert liveness.stopping
    assert not watchdog.stalled(waiting_since_s=0, now_s=1000)


WORKER = Path(__file__).parent / "programs" / "watched_worker.py"


def worker(*options: str, stop_timeout_s: float = NEVER_S) -> subprocess.Popen[str]:
    command = [sys.executable, WORKER, f"--stop-timeout-s={stop_timeout_s}", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.process
def test_a_stalled_worker_gets_sigterm():
    with worker("--ready", "--on-sigterm=exit") as process:
        assert process.wait(HANG_S) == 42


@pytest.mark.process
def test_a_stalled_worker_that_ignores_sigterm_is_killed():
    with worker("--ready", "--on-sigterm=ignore", stop_timeout_s=0.2) as process:
        assert process.wait(HANG_S) == -signal.SIGKILL


@pytest.mark.process
def test_an_unreachable_broker_does_not_end_a_worker():
    # Work was seen once; then come more looks than fit into the limit.
    with worker("--ready", "--away-after=1") as process:
        looks = [line for line in (process.stdout.readline() for _ in range(13)) if line == "look\n"]
        process.kill()
    assert len(looks) == 12


@pytest.mark.process
def test_the_watchdog_dies_with_its_worker():
    with worker() as process:
        watchdog = next(int(line) for line in process.stdout if line != "look\n")
        ended = os.pidfd_open(watchdog)
        process.kill()
        assert select.select([ended], [], [], HANG_S)[0]
        os.close(ended)
