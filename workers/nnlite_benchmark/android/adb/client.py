"""A client of one adb server that speaks by socket only and waits for nothing without a deadline.

adbutils' own connection starts a daemon on the default port when a server does
not answer, waits for ever on transfers and knows no stop event; this one looks
up ten times a second, wherever in adbutils it waits.
"""

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from adbutils import AdbClient, AdbConnection, AdbDevice
from adbutils.errors import AdbError

#: What a call may raise when server or device do not do as they should; adbutils checks by `assert` too.
ADB_ERRORS: Final = (OSError, AdbError, EOFError, ValueError, struct.error, AssertionError)
_CONNECT_TIMEOUT_S: Final = 3.0
#: How often a wait calls `look`, milliseconds.
_LOOK_MS: Final = 100

#: Called again and again while the wire is waited for; ends the wait by raising.
Look = Callable[[], None]


class _WatchedSocket(socket.socket):
    """Never blocks unwatched, and sends all or fails: adbutils takes a partial `send` for a whole one."""

    look: Look
    #: Longest that nothing moves; None: `look` alone sets the limit.
    silence_s: float | None

    def recv(self, size: int, flags: int = 0) -> bytes:
        while True:
            self.look()
            with suppress(BlockingIOError):
                return super().recv(size, flags)
            self._wait_for(select.POLLIN)

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        unsent = memoryview(data)
        while unsent:
            self.look()
            with suppress(BlockingIOError):
                unsent = unsent[super().send(unsent, flags) :]
                continue
            self._wait_for(select.POLLOUT)
        return len(data)

    def _wait_for(self, event: int) -> None:
        started_s = time.monotonic()
        poll = select.poll()
        poll.register(self, event)
        while not poll.poll(_LOOK_MS):
            self.look()
            if self.silence_s is not None and time.monotonic() - started_s > self.silence_s:
                raise TimeoutError(f"silent for {self.silence_s:g} s")


class _Connection(AdbConnection):  # type: ignore[misc]
    """A connection that starts no server; ConnectionError: nobody answers."""

    def __init__(self, port: int, silence_s: float, look: Look) -> None:
        self._port = port
        self._silence_s = silence_s
        self._look = look
        super().__init__("127.0.0.1", port)

    def wait_without_limit(self) -> None:
        """From now on `look` alone ends a silence."""
        self.conn.silence_s = None

    def _safe_connect(self) -> socket.socket:
        connection = _WatchedSocket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            connection.settimeout(min(self._silence_s, _CONNECT_TIMEOUT_S))
            connection.connect(("127.0.0.1", self._port))
        except OSError as error:
            connection.close()
            raise ConnectionError(f"no adb server answers on port {self._port}: {error}") from error
        connection.setblocking(False)
        connection.look, connection.silence_s = self._look, self._silence_s
        return connection


class _Device(AdbDevice):  # type: ignore[misc]
    """A device whose transport costs one connection, and leaves none open when it is refused."""

    def open_transport(self, command: str | None = None, timeout: float | None = None) -> AdbConnection:
        connection = self._client.make_connection(timeout)
        try:
            connection.send_command(
                f"host-serial:{self.serial}:{command}" if command else f"host:transport:{self.serial}"
            )
            connection.check_okay()
        except BaseException:
            connection.close()
            raise
        return connection


class Wire(AdbClient):  # type: ignore[misc]
    """One adb server; every call raises one of `ADB_ERRORS`, or what `look` raises."""

    def __init__(self, port: int, timeout_s: float, look: Look = lambda: None) -> None:
        """Describe the connections.

        Args:
            port: of the server; may be changed when it is started anew.
            timeout_s: the longest silence of the server that is waited for.
            look: called ten times a second while something is waited for; may raise.
        """
        super().__init__(host="127.0.0.1", port=5037)
        self.port: int = port
        self._silence_s = timeout_s
        self._look = look

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self._own_port

    @port.setter
    def port(self, port: int) -> None:
        self._own_port = port

    def watched(self, look: Look) -> "Wire":
        """Return a client of the same server whose waits `look` may end."""
        return Wire(self.port, self._silence_s, look)

    def attached(self, serial: str) -> AdbDevice:
        """Return a device to speak to; whether it is there, the first call shows."""
        return _Device(self, serial=serial)

    def make_connection(self, timeout: float | None = None) -> AdbConnection:
        """Connect to the server; every silence on the connection is bounded."""
        return _Connection(self.port, min(timeout or self._silence_s, self._silence_s), self._look)

    def is_answered(self) -> bool:
        """Whether the server answers now."""
        try:
            self.server_version()
        except ADB_ERRORS:
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
        with self.make_connection(_CONNECT_TIMEOUT_S) as connection, suppress(AdbError, OSError):
            connection.send_command(f"host:emulator:{adb_port}")
            connection.recv(4)

    def reconnect_offline(self) -> None:
        """Let the server drop and find again what it calls offline."""
        with self.make_connection() as connection, suppress(AdbError):
            connection.send_command("host:reconnect-offline")
            connection.check_okay()


def _lines(block: str) -> list[str]:
    return [line for line in block.splitlines() if "\t" in line]
