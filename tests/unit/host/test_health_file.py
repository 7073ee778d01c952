"""The health file is touched while a process makes progress; the documented check needs only a shell."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from nnlite.errors import NnliteError
from nnlite.host import health_file as health
from nnlite.host.health_file import HealthFileThread, health_file_of_process, touch_health_file
from waiting import HANG_S

#: As `deploy/` has it.
CHECK = 'test $(($(date +%s) - $(stat -c %Y "$NNLITE_HEALTH_FILE"))) -lt 30'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alive"


def healthy(file: Path) -> bool:
    checked = subprocess.run(
        ["sh", "-c", CHECK], env={"PATH": os.environ["PATH"], "NNLITE_HEALTH_FILE": str(file)}, timeout=HANG_S
    )
    return checked.returncode == 0


def make_old(file: Path) -> None:
    os.utime(file, (1, 1))


@pytest.mark.process
def test_a_process_is_healthy_from_its_start_to_its_end(file):
    assert not healthy(file)
    with health_file_of_process(file):
        assert healthy(file)
        make_old(file)
        assert not healthy(file)
        touch_health_file(file)
        assert healthy(file)
    assert not file.exists()


def test_the_file_of_an_earlier_process_is_replaced(file):
    file.write_text("left")
    with health_file_of_process(file):
        assert file.read_text() == ""


def test_an_unwritable_file_is_reported_at_the_start():
    refused = pytest.raises(NnliteError, match=r"NNLITE_HEALTH_FILE=/proc/alive: .*; name a file that can be")
    with refused, health_file_of_process(Path("/proc/alive")):
        pass


def test_the_thread_touches_the_file_except_while_paused(file, monkeypatch):
    touches = threading.Semaphore(0)
    monkeypatch.setattr(health, "TOUCH_EVERY_S", 0.01)
    monkeypatch.setattr(health, "touch_health_file", lambda _: touches.release())
    with HealthFileThread(file) as thread:
        assert all(touches.acquire(timeout=HANG_S) for _ in range(5))
        with thread.paused():
            assert "health file" not in {other.name for other in threading.enumerate()}
        assert all(touches.acquire(timeout=HANG_S) for _ in range(5))


def test_without_a_file_nothing_is_started():
    before = threading.active_count()
    with health_file_of_process(None), HealthFileThread(None) as thread, thread.paused():
        touch_health_file(None)
        assert threading.active_count() == before
