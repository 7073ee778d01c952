"""A health file is touched while all is well, and the documented check reads it with the shell alone."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from nnlite.errors import NnliteError
from nnlite.host import health_file as health
from nnlite.host.health_file import HealthFileThread, sign_of_life, touch_health_file
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


def test_a_process_is_healthy_from_its_start_to_its_end(file):
    assert not healthy(file)
    with sign_of_life(file):
        assert healthy(file)
        make_old(file)
        assert not healthy(file)
        touch_health_file(file)
        assert healthy(file)
    assert not file.exists()


def test_what_an_earlier_life_left_is_no_sign_of_this_one(file):
    file.write_text("left")
    with sign_of_life(file):
        assert file.read_text() == ""


def test_a_file_that_cannot_be_written_is_said_at_the_start():
    refused = pytest.raises(NnliteError, match=r"NNLITE_HEALTH_FILE=/proc/alive: .*; name a file that can be")
    with refused, sign_of_life(Path("/proc/alive")):
        pass


def test_a_pulse_beats_by_itself_and_not_while_that_is_left_to_others(file, monkeypatch):
    beats = threading.Semaphore(0)
    monkeypatch.setattr(health, "BEAT_S", 0.01)
    monkeypatch.setattr(health, "touch_health_file", lambda _: beats.release())
    with HealthFileThread(file) as pulse:
        assert all(beats.acquire(timeout=HANG_S) for _ in range(5))
        with pulse.paused():
            assert "sign of life" not in {thread.name for thread in threading.enumerate()}
        assert all(beats.acquire(timeout=HANG_S) for _ in range(5))


def test_without_a_file_nothing_is_done():
    before = threading.active_count()
    with sign_of_life(None), HealthFileThread(None) as pulse, pulse.paused():
        touch_health_file(None)
        assert threading.active_count() == before
