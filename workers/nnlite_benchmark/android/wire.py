"""A client of one adb server that speaks by socket only and waits for nothing without a deadline.

adbutils' own connection starts a daemon on the default port when a server does
not answer, and waits for ever on transfers; this one does neither.
"""

import socket
from contextlib import suppress
from typing import Final

from adbutils import AdbClient, AdbConnection
from adbutils.errors import AdbError, AdbTimeout

_CONNECT_TIMEOUT_S: Final = 3.0


class _WholeSocket(socket.socket):
    """A socket that sends all or fails: adbutils takes a partial `send` for a whole one."""

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        self.sendall(data, flags)
        return len(data)


class _Connection(AdbConnection):  # type: ignore[misc]
    """A connection that starts no server; ConnectionError: nobody answers."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self._port = port
        self._timeout_s = timeout_s
        super().__init__("127.0.0.1", port)

    def _safe_connect(self) -> socket.socket:
        connection = _WholeSocket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            connection.settimeout(min(self._timeout_s, _CONNECT_TIMEOUT_S))
            connection.connect(("127.0.0.1", self._port))
        except OSError as error:
            connection.close()
            raise ConnectionError(f"no adb server answers on port {self._port}: {error}") from error
        connection.settimeout(self._timeout_s)
        return connection


class Wire(AdbClient):  # type: ignore[misc]
    """One adb server; every call raises ConnectionError, AdbTimeout or AdbError."""

    def __init__(self, port: int, timeout_s: float) -> None:
        """Args: `timeout_s` is the longest silence of the server that is waited for."""
        super().__init__(host="127.0.0.1", port=5037)
        #: May be changed when the server is started anew.
        self.port: int = port
        self._silence_s = timeout_s

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self._own_port

    @port.setter
    def port(self, port: int) -> None:
        self._own_port = port

    def make_connection(self, timeout: float | None = None) -> AdbConnection:
        """Connect to the server; every silence on the connection is bounded."""
        return _Connection(self.port, min(timeout or self._silence_s, self._silence_s))

    def is_answered(self) -> bool:
        """Whether the server answers now."""
        try:
            self.server_version()
        except (OSError, AdbError, ValueError):
            return False
        return True

    def state_of(self, serial: str) -> str | None:
        """Return what the server says of a device: `device`, `offline`, `unauthorized`...; None: unknown."""
        with self.make_connection() as connection:
            connection.send_command("host:devices")
            connection.check_okay()
            listed = dict(line.split("\t", 1) for line in _lines(connection.read_string_block()))
        return listed.get(serial)

    def announce_emulator(self, adb_port: int) -> None:
        """Tell the server of an emulator whose adbd listens on `adb_port`; it does not answer."""
        with self.make_connection() as connection:
            connection.send_command(f"host:emulator:{adb_port}")
            with suppress(AdbTimeout, AdbError, OSError):
                connection.conn.settimeout(_CONNECT_TIMEOUT_S)
                connection.recv(4)

    def reconnect_offline(self) -> None:
        """Let the server drop and find again what it calls offline."""
        with self.make_connection() as connection, suppress(AdbError):
            connection.send_command("host:reconnect-offline")
            connection.check_okay()


def _lines(block: str) -> list[str]:
    return [line for line in block.splitlines() if "\t" in line]
