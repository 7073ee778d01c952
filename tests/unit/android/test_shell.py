"""The shell on a server that speaks no adb: each answer is a fault in words, and no connection stays open."""

import socket
import threading
from collections.abc import Iterator

import pytest

from descriptors import open_descriptors
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault
from nnlite_benchmark.android.adb.client import AdbClient
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.device import DeviceFailure
from waiting import HANG_S

SERIAL = "R58M12ABCDE"
#: Longest wait for a client that neither speaks nor goes, before the test's own deadline.
CONNECTION_S = 60


class Server:
    """Lists one device, and gives one answer to whatever it is asked of it."""

    def __init__(self) -> None:
        self.answer = b""
        self.listing = f"{SERIAL} device\n".encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.settimeout(CONNECTION_S)
            with connection:
                if not (asked := self._request(connection)):
                    return
                if asked.startswith(b"host:transport:"):
                    connection.sendall(b"OKAY")
                    self._request(connection)
                    connection.sendall(self.answer)
                else:
                    connection.sendall(b"OKAY%04x%s" % (len(self.listing), self.listing))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

    @staticmethod
    def _request(connection: socket.socket) -> bytes:
        size = connection.recv(4)
        return connection.recv(int(size, 16)) if size else b""

    def close(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), HANG_S).close()
        self._thread.join(HANG_S)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    before = open_descriptors()
    server = Server()
    yield server
    server.close()
    assert open_descriptors() <= before


@pytest.fixture
def shell(server: Server) -> Shell:
    return Shell(AdbClient(server.port, HANG_S), SERIAL, AndroidSettings(), threading.Event())


GARBAGE = [
    (b"", "Unknown data"),
    (b"OKAY", "the connection was closed"),
    (b"FAIL0005\x1b[2Jx", "x"),
    (b"FAILffff" + b"x" * 0xFFFF, "xxx"),
    (b"FAILzzzz", "invalid literal"),
    (b"HTTP/1.1 400 Bad Request", "Unknown data"),
    (b"OKAY" + bytes(range(256)) * 100, "the connection was closed"),
    (b"OKAY\x01\xff\xff\xff\xff" + b"x" * 1000, "the connection was closed"),
]


@pytest.mark.parametrize(("answer", "words"), GARBAGE)
def test_an_answer_that_is_no_adb_is_a_fault_of_the_device(server, shell, answer, words):
    server.answer = answer
    with pytest.raises(DeviceFailure, match=f"{SERIAL}: `getprop`: ") as caught:
        shell.run("getprop")
    assert caught.value.fault is Fault.COMMAND_FAILED
    assert words in caught.value.reason and len(caught.value.reason) < 2100


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"DATA\xff\xff\xff\xff" + b"x" * 1000, "4294967295 bytes at once are announced; adb sends at most"),
        (b"FAIL\xff\xff\xff\xff", "4294967295 bytes at once"),
        (b"DATA\x05\0\0\0ab", "read chunk missing"),
        (b"DATA\x05", "unpack requires a buffer of 4 bytes"),
        (b"NOPE", "Invalid sync cmd"),
        (b"", "Invalid sync cmd"),
    ],
)
def test_a_file_that_is_no_file_is_a_fault_and_is_not_waited_for(server, shell, tmp_path, answer, words):
    server.answer = b"OKAY" + answer
    with pytest.raises(DeviceFailure) as caught:
        shell.pull("/storage/x.raw", tmp_path / "x.raw", max_bytes=100)
    assert words in caught.value.reason


def test_a_listing_that_is_none_names_no_device(server, shell):
    server.answer, server.listing = b"FAIL", b"\xff\x1b[2J"
    with pytest.raises(DeviceFailure) as caught:
        shell.run("getprop")
    assert caught.value.fault is Fault.DISCONNECTED
