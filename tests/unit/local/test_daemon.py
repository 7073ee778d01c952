"""The local daemon is found by its record while it lives, and is started and stopped by it."""

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from nnlite.local import LocalError, daemon
from nnlite.local.home import Limits, LocalInstance
from waiting import HANG_S, wait_until

STANDING = [sys.executable, str(Path(__file__).parent / "programs" / "standing_daemon.py")]


@pytest.fixture
def instance(tmp_path: Path):
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    return LocalInstance(home=home, limits=Limits(stop_timeout_s=HANG_S))


def test_a_home_has_no_daemon_where_none_was_started(tmp_path: Path) -> None:
    assert daemon.daemon_of(tmp_path) is None
    assert daemon.running(tmp_path) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"pid": 1, "started": "another boot 7"})])
def test_a_record_that_is_damaged_or_of_a_dead_process_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text(content)
    assert daemon.daemon_of(tmp_path) is None


def test_this_process_is_the_daemon_inside_the_block_only(tmp_path: Path) -> None:
    with daemon.recorded(tmp_path):
        (own,) = daemon.running(tmp_path)
        assert (own.name, own.kind, own.identity) == ("daemon", "daemon", daemon.daemon_of(tmp_path))
    assert daemon.daemon_of(tmp_path) is None


@pytest.mark.process
def test_a_daemon_is_started_and_stopped(instance) -> None:
    started = daemon.start(instance, [*STANDING, str(instance.home)], HANG_S)
    assert daemon.daemon_of(instance.home) == started
    assert daemon.stop(instance)
    assert not started.alive
    assert not daemon.stop(instance), "there is none any more"


@pytest.mark.process
def test_a_daemon_that_ends_at_once_is_an_error_with_its_log(instance) -> None:
    with pytest.raises(LocalError, match=r"(?s)the daemon did not start; .*daemon.log says:\n.*No such file"):
        daemon.start(instance, [sys.executable, "/no/such/program.py"], HANG_S)


def is_over(child: psutil.Process) -> bool:
    return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.process
def test_a_daemon_that_comes_second_ends_and_does_not_wait_for_the_first(instance) -> None:
    with daemon.recorded(instance.home):
        before = set(psutil.Process().children())
        first = daemon.start(instance, [sys.executable, "-c", "import time; time.sleep(10000)"], HANG_S)
        assert first.pid == os.getpid()
        (second,) = set(psutil.Process().children()) - before
        wait_until(lambda: is_over(second), "it has ended")


@pytest.mark.process
def test_an_interrupted_start_leaves_no_daemon(instance, monkeypatch) -> None:
    started = []

    def interrupted(seconds: float) -> None:
        started.extend(psutil.Process().children())
        raise KeyboardInterrupt

    monkeypatch.setattr("nnlite.local.daemon.time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        daemon.start(instance, [sys.executable, "-c", "import time; time.sleep(10000)"], HANG_S)
    monkeypatch.undo()
    wait_until(lambda: all(map(is_over, started)), "it has ended")
