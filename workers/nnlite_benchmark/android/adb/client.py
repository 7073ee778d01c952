"""Client of one adb server: socket only, every wait has a deadline and can be cancelled.

adbutils' own connection starts a daemon on the default port when a server does
not answer, waits without a limit during transfers and knows no stop event. This
one calls a callback ten times a second, wherever adbutils waits.
"""

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import adbutils
from adbutils import AdbConnection, AdbDevice
from adbutils.errors import AdbError

from nnlite.host import adb_services

#: What a call may raise when the server or the device fails; adbutils checks by `assert` too.
ADB_ERRORS: Final = (OSError, AdbError, EOFError, ValueError, struct.error, AssertionError)
_CONNECT_TIMEOUT_S: Final = 3.0
#: Most bytes that adb sends at once: SYNC_DATA_MAX of its file_sync_protocol.h.
_MAX_PART_BYTES: Final = 64 * 1024
#: How often a wait calls `on_poll`, milliseconds.
_POLL_MS: Final = 100

#: Called ten times a second while the client waits; cancels the wait by raising.
PollCallback = Callable[[], None]


class _CancellableSocket(socket.socket):
    """Socket that calls `on_poll` while it blocks; sends all or fails, as adbutils ignores short sends."""

    on_poll: PollCallback
    #: Longest time without data; None: only `on_poll` limits the wait.
    idle_timeout_s: float | None

    def recv(self, size: int, flags: int = 0) -> bytes:
        while True:
            self.on_poll()
            with suppress(BlockingIOError):
                return super().recv(size, flags)
            self._wait_for(select.POLLIN)

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        unsent = memoryview(data)
        while unsent:
            self.on_poll()
            with suppress(BlockingIOError):
                unsent = unsent[super().send(unsent, flags) :]
                continue
            self._wait_for(select.POLLOUT)
        return len(data)

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        self.send(data, flags)

    def _wait_for(self, event: int) -> None:
        started_s = time.monotonic()
        poll = select.poll()
        poll.register(self, event)
        while not poll.poll(_POLL_MS):
            self.on_poll()
            if self.idle_timeout_s is not None and time.monotonic() - started_s > self.idle_timeout_s:
                raise TimeoutError(f"silent for {self.idle_timeout_s:g} s")


class _Connection(AdbConnection):  # type: ignore[misc]
    """Connection that never starts a server; raises ConnectionError if none answers."""

    def __init__(self, port: int, idle_timeout_s: float, on_poll: PollCallback) -> None:
        self._port = port
        self._idle_timeout_s = idle_timeout_s
        self._on_poll = on_poll
        super().__init__("127.0.0.1", port)

    def read(self, n: int) -> bytes:
        """Read a part of an answer; its size is the other side's word, so it is limited."""
        if n > _MAX_PART_BYTES:
            raise ValueError(f"{n} bytes at once are announced; adb sends at most {_MAX_PART_BYTES}")
        return bytes(super().read(n))

    def disable_idle_timeout(self) -> None:
        """Let only `on_poll` limit further waits."""
        self.conn.idle_timeout_s = None

    def _safe_connect(self) -> socket.socket:
        connection = _CancellableSocket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            connection.settimeout(min(self._idle_timeout_s, _CONNECT_TIMEOUT_S))
            connection.connect(("127.0.0.1", self._port))
        except OSError as error:
            connection.close()
            raise ConnectionError(f"no adb server answers on port {self._port}: {error}") from error
        connection.setblocking(False)
        connection.on_poll, connection.idle_timeout_s = self._on_poll, self._idle_timeout_s
        return connection


class _Device(AdbDevice):  # type: ignore[misc]
    """Device whose transport needs one connection, which is closed when the server refuses it."""

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


class AdbClient(adbutils.AdbClient):  # type: ignore[misc]
    """Client of one adb server; calls raise one of `ADB_ERRORS`, or what `on_poll` raises."""

    def __init__(self, port: int, timeout_s: float, on_poll: PollCallback = lambda: None) -> None:
        """Configure the client; nothing is connected yet.

        Args:
            port: of the server; may change when the server is restarted.
            timeout_s: idle timeout of every connection.
            on_poll: called ten times a second during waits; may raise.
        """
        super().__init__(host="127.0.0.1", port=5037)
        self.port: int = port
        self._idle_timeout_s = timeout_s
        self._on_poll = on_poll

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self._own_port

    @port.setter
    def port(self, port: int) -> None:
        self._own_port = port

    def polled_by(self, on_poll: PollCallback) -> "AdbClient":
        """Return a client of the same server whose waits `on_poll` may cancel."""
        return AdbClient(self.port, self._idle_timeout_s, on_poll)

    def device_of(self, serial: str) -> AdbDevice:
        """Return a handle of the device; only its first call shows whether it is connected."""
        return _Device(self, serial=serial)

    def make_connection(self, timeout: float | None = None) -> AdbConnection:
        """Connect to the server, with an idle timeout."""
        return _Connection(
            self.port, min(timeout or self._idle_timeout_s, self._idle_timeout_s), self._on_poll
        )

    def is_answered(self) -> bool:
        """Return whether the server answers now."""
        try:
            with self.make_connection() as connection:
                adb_services.request(connection.conn, "host:version")
        except ADB_ERRORS:
            return False
        return True

    def state_of(self, serial: str) -> str | None:
        """Return the device's state on the server (`device`, `offline`, `unauthorized`...); None: unknown."""
        with self.make_connection() as connection:
            devices = adb_services.list_devices(connection.conn)
        return next((device.state for device in devices if device.serial == serial), None)

    def announce_emulator(self, adb_port: int) -> None:
        """Register an emulator whose adbd listens on `adb_port`; the server sends no reply."""
        with self.make_connection(_CONNECT_TIMEOUT_S) as connection, suppress(ValueError, OSError):
            adb_services.request(connection.conn, f"host:emulator:{adb_port}")

    def reconnect_offline(self) -> None:
        """Make the server reconnect every device that is offline."""
        with self.make_connection() as connection, suppress(adb_services.AdbRefusedError):
            adb_services.request(connection.conn, "host:reconnect-offline")
