"""Bringing LEMUR's wheel; a program of ours stands for the installer, which would need the network."""

import errno
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nnlite.catalog.lemur import fetch
from nnlite.catalog.lemur.location import WHEEL
from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.model import CatalogError
from unit.catalog.copies import trial
from waiting import wait_until

pytestmark = pytest.mark.process


PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def installer(monkeypatch):
    """Replace the installer by a program, which gets the installer's arguments after its own."""

    def become(program: str, *arguments: object) -> None:
        command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
        monkeypatch.setattr(fetch, "installer", lambda: command)

    return become


def left_in(settings) -> list[str]:
    return sorted(path.name for path in (settings.home / "sources").iterdir())


def test_the_wheel_is_fetched_once_and_found_afterwards(lemur, make_settings, installer, tmp_path):
    log = tmp_path / "log"
    origin = lemur.trained("net", trial("a")).wheel(tmp_path / "origin.whl")
    installer("copying_installer.py", origin, WHEEL, log)
    settings = make_settings(None)
    received = []
    wheel = fetch.fetch_lemur(settings, received.append)
    assert received[-1] == origin.stat().st_size
    assert fetch.fetch_lemur(settings, lambda _: pytest.fail("downloaded twice")) == wheel
    (command,) = log.read_text().splitlines()
    assert command.startswith("download --no-deps ")
    assert command.endswith("nn-dataset==2.1.2")
    assert left_in(settings) == [WHEEL]
    assert [model.name for model in LemurSource(make_settings(wheel)).models()] == ["net"]


def test_a_truncated_wheel_is_fetched_again(lemur, make_settings, installer, tmp_path):
    origin = lemur.trained("net", trial("a")).wheel(tmp_path / "origin.whl")
    installer("copying_installer.py", origin, WHEEL, tmp_path / "log")
    settings = make_settings(None)
    wheel = fetch.fetch_lemur(settings)
    wheel.write_bytes(wheel.read_bytes()[:100])
    assert fetch.is_lemur(fetch.fetch_lemur(settings), settings)


def test_the_error_quotes_a_failing_installer(make_settings, installer):
    installer("failing_installer.py")
    settings = make_settings(None)
    with pytest.raises(CatalogError, match=r"(?s)ended with 23:\nno route to any index\n.*NNLITE_LEMUR"):
        fetch.fetch_lemur(settings)
    assert left_in(settings) == []


def test_a_full_disk_is_no_matter_of_the_network(make_settings, installer):
    installer("failing_installer.py", "OSError: [Errno 28] No space left on device")
    settings = make_settings(None)
    with pytest.raises(OSError, match="No space left on device") as full:
        fetch.fetch_lemur(settings)
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(settings.home / "sources"))
    assert left_in(settings) == []


def test_what_is_not_lemur_is_refused(make_settings, installer, tmp_path):
    (tmp_path / "origin.whl").write_text("not a wheel")
    installer("copying_installer.py", tmp_path / "origin.whl", WHEEL, tmp_path / "log")
    settings = make_settings(None)
    with pytest.raises(CatalogError, match="instead of a readable nn_dataset"):
        fetch.fetch_lemur(settings)
    assert left_in(settings) == []


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_at_the_deadline_the_installer_and_its_children_are_ended(
    make_settings, installer, tmp_path, monkeypatch
):
    pids = tmp_path / "pids"
    installer("hanging_installer.py", pids)
    communicate = subprocess.Popen.communicate

    def once_it_runs(process, timeout=None):
        wait_until(pids.exists, "the installer runs")
        return communicate(process, timeout=timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_it_runs)
    settings = make_settings(None, fetch_timeout_s=0.2)
    with pytest.raises(CatalogError, match=r"was not downloaded within 0\.2 s"):
        fetch.fetch_lemur(settings)
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: has_ended(pid), f"process {pid} has ended")
    assert left_in(settings) == []


def test_what_arrives_is_watched(make_settings, installer, tmp_path, monkeypatch):
    installer("partial_installer.py", tmp_path / "go on")
    monkeypatch.setattr(fetch, "_POLL_S", 0.01)
    seen = []

    def watch(received: int) -> None:
        seen.append(received)
        if received == 1000:
            (tmp_path / "go on").write_text("")

    with pytest.raises(CatalogError, match="ended with 23"):
        fetch.fetch_lemur(make_settings(None), watch)
    assert max(seen) == 1000


def test_without_an_installer_the_error_has_a_hint(monkeypatch, tmp_path):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("UV", raising=False)
    with pytest.raises(CatalogError, match="neither pip nor uv is here"):
        fetch.installer()
