"""The golden snapshot of an AVD, and the emulator's console, which makes it; the rest is in tests/device."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nnlite_benchmark.android.emulator.snapshot import ConsoleError, GoldenSnapshot, command
from waiting import HANG_S

NEVER = threading.Event()
GREETING = "Android Console: Authentication required\r\nOK\r\n"


@contextmanager
def console(answers: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """A console that answers one client; yields its port and the commands that it gets."""
    asked: list[str] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw", newline="") as client:
            client.write(GREETING)
            client.flush()
            for line in client:
                asked.append(line.strip())
                client.write(answers.get(line.split()[0], "OK\r\n"))
                client.flush()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1], asked
        server.join(HANG_S)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".emulator_console_auth_token").write_text("secret\n")
    return tmp_path


@pytest.fixture
def golden(tmp_path: Path) -> Callable[..., GoldenSnapshot]:
    """The snapshot of an AVD: `golden(memory="4096")`."""

    def make(
        revision: str = "36.1.9", image: str = "10", memory: str = "2048", more: str = ""
    ) -> GoldenSnapshot:
        sdk, avd = tmp_path / "sdk", tmp_path / "one.avd"
        (sdk / "emulator").mkdir(parents=True, exist_ok=True)
        avd.mkdir(exist_ok=True)
        (sdk / "emulator" / "source.properties").write_text(f"Pkg.Revision={revision}\n")
        (sdk / "source.properties").write_text(f"Pkg.Revision={image}\n")
        (avd / "config.ini").write_text(f"hw.ramSize = {memory}\nAvdId=one\n{more}")
        return GoldenSnapshot(avd, sdk, sdk, ("-cores", "2"), wanted=True)

    return make


def test_a_command_is_authenticated_and_its_answer_awaited(home):
    with console({}) as (port, asked):
        command(port, home, "avd snapshot save one", timeout_s=HANG_S, stop=NEVER)
    assert asked == ["auth secret", "avd snapshot save one"]


@pytest.mark.parametrize("answer", ["KO: no space left\r\n", "Saving\r\nKO: no space left\r\n"])
def test_a_refused_command_is_an_error_in_the_consoles_words(home, answer):
    with console({"avd": answer}) as (port, _), pytest.raises(ConsoleError, match="KO: no space left"):
        command(port, home, "avd snapshot save one", timeout_s=HANG_S, stop=NEVER)


def test_a_console_that_is_not_there_is_an_error(home):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConsoleError, match=f"console on port {port}"):
        command(port, home, "kill", timeout_s=HANG_S, stop=NEVER)


def test_the_name_tells_what_the_snapshot_fits(golden):
    names = [
        golden().name,
        golden(revision="36.1.10").name,
        golden(image="11").name,
        golden(memory="4096").name,
    ]
    assert len(set(names)) == 4
    assert golden(more="runtime.network.latency=none\n").name == names[0], "added by an emulator"


def test_a_snapshot_that_cannot_be_saved_twice_is_given_up(golden, home):
    for tries in (1, 2):
        with console({"avd": "KO: no space left\r\n"}) as (port, asked):
            golden().save(port, home, NEVER)
        assert len(asked) == 2, tries
        assert not golden().is_loadable
    golden().save(0, home, NEVER)


def test_only_snapshots_that_are_dropped_in_a_row_are_given_up(golden, home):
    for _ in range(3):
        golden().drop("it cannot be loaded")
        with console({}) as (port, asked):
            golden().save(port, home, NEVER)
        assert len(asked) == 2
        golden().helped()


def test_without_the_consoles_token_the_next_boot_is_cold(golden, home):
    (home / ".emulator_console_auth_token").unlink()
    with console({}) as (port, asked):
        golden().save(port, home, NEVER)
    assert asked == [] and not golden().is_loadable


@pytest.mark.parametrize("other", [{"revision": "34.2.13"}, {"more": "fastboot.forceColdBoot=yes\n"}])
def test_where_none_can_be_loaded_none_is_saved(golden, home, other):
    golden(**other).save(0, home, NEVER)
    assert not golden(**other).is_loadable
