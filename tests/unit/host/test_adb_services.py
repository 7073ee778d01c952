"""Client of a running adb server: `nnlite.host.adb_services`."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import adbutils
import pytest

from nnlite.host.adb_services import AttachedDevice, attached_devices, parse, server_port
from waiting import HANG_S, end, wait_until

LISTING = """\
R58M12ABCDE            device usb:1-4 product:redfin model:Pixel_5 device:redfin transport_id:1
0123456789ABCDEF       no permissions (missing udev rules?); see [http://a.b/tools]; usb:1-2 transport_id:4
emulator-5554          offline transport_id:3
192.168.1.7:5555       unauthorized transport_id:7
"""


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], int]]:
    """A server that gives one answer to one request; returns its port."""
    listeners, threads = [], []

    def start(answer: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(HANG_S)
        listeners.append(listener)

        def give() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(100) == b"000ehost:devices-l"
                connection.sendall(answer)

        threads.append(threading.Thread(target=give))
        threads[-1].start()
        return listener.getsockname()[1]

    yield start
    for thread in threads:
        thread.join(HANG_S)
    for listener in listeners:
        listener.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_devices_in_every_state_are_listed(serve):
    answer = LISTING.encode()
    assert attached_devices(serve(b"OKAY%04x%s" % (len(answer), answer))) == [
        AttachedDevice(serial="R58M12ABCDE", state="device", model="Pixel_5"),
        AttachedDevice(
            serial="0123456789ABCDEF",
            state="no permissions (missing udev rules?); see [http://a.b/tools];",
        ),
        AttachedDevice(serial="emulator-5554", state="offline"),
        AttachedDevice(serial="192.168.1.7:5555", state="unauthorized"),
    ]


@pytest.mark.parametrize("answer", [b"", b"OKAY", b"OKAY00", b"OKAYzzzz", b"FAIL0002no", b"OKAY0010short"])
def test_an_invalid_or_incomplete_answer_counts_as_no_server(serve, answer):
    assert attached_devices(serve(answer)) is None


def test_nothing_is_started_where_no_server_answers():
    port = free_port()
    assert attached_devices(port) is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=HANG_S)


@pytest.mark.process
def test_a_real_adb_server_is_asked(tmp_path):
    port = free_port()
    server = subprocess.Popen(
        [adbutils.adb_path(), "-P", str(port), "nodaemon", "server"],
        env={
            "HOME": str(tmp_path),
            "ADB_USB": "0",
            "ADB_EMU": "0",
            "ADB_MDNS": "0",
            "ADB_MDNS_OPENSCREEN": "0",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: attached_devices(port) is not None, "the server answers")
        assert attached_devices(port) == []
    finally:
        end(server)


@pytest.mark.parametrize("line", ["", "   ", "serial"])
def test_lines_that_are_no_device_are_ignored(line):
    assert parse(line) is None


@pytest.mark.parametrize("port", ["0", "70000", "tcp:5038", "-1"])
def test_an_invalid_port_is_reported(monkeypatch, port):
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    with pytest.raises(ValueError, match=f"ANDROID_ADB_SERVER_PORT={port} is not a port"):
        server_port()


def test_the_port_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT", raising=False)
    assert server_port() == 5037
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5038")
    assert server_port() == 5038
