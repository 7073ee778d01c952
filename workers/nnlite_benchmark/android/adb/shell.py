"""Shell commands, pushes and pulls on one device, each with a deadline.

Every adb error becomes a `DeviceFailure` with the command, the serial and the
fault that the device's state on the adb server shows (`Shell._device_failure`);
`nnlite_benchmark.device_manager` then runs the device's recovery steps.
"""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adbutils import AdbConnection
from adbutils.errors import AdbTimeout

from nnlite.errors import Stopped
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.client import ADB_ERRORS, AdbClient, PollCallback
from nnlite_benchmark.android.adb.states import fault_of_state
from nnlite_benchmark.android.properties.parsers import free_kb
from nnlite_benchmark.device import DeviceFailure

#: Poll interval while a device goes down for a reboot, seconds.
_POLL_S: Final = 0.05
#: Timeout of one cleanup command after the worker was asked to stop, seconds.
_CLEANUP_TIMEOUT_S: Final = 2.0
#: Most that one command may print.
MAX_OUTPUT_BYTES: Final = 128 * 1024 * 1024
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_HEADER: Final = struct.Struct("<BI")

OnData = Callable[[bytes], None]


class PullRefused(DeviceFailure):
    """adbd rejected the pull (file missing or permission denied); the device itself is healthy."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """Output and exit status of a command on the device."""

    stdout: str
    stderr: str
    status: int

    @property
    def text(self) -> str:
        """stdout and stderr, stripped."""
        return f"{self.stdout}{self.stderr}".strip()


class Shell:
    """Runs commands and transfers files on one device; not thread-safe."""

    def __init__(
        self, client: AdbClient, serial: str, settings: AndroidSettings, stop: threading.Event
    ) -> None:
        """Args: `stop` cancels every wait with `Stopped`."""
        self.serial: str = serial
        #: Stage of the current work, for failures.
        self.stage: Stage = Stage.PREPARE
        self._client = client
        self._settings = settings
        self._stop = stop
        self._command_timeout_s = settings.command_timeout_s

    @contextmanager
    def cancelled_by(self, stop: threading.Event) -> Iterator[None]:
        """Let another event cancel the waits while the block runs."""
        previous, self._stop = self._stop, stop
        try:
            yield
        finally:
            self._stop = previous

    @contextmanager
    def cleanup_mode(self) -> Iterator[None]:
        """Ignore the stop event inside the block, but shorten timeouts if it is already set."""
        previous_s = self._command_timeout_s
        if self._stop.is_set():
            self._command_timeout_s = min(previous_s, _CLEANUP_TIMEOUT_S)
        try:
            with self.cancelled_by(threading.Event()):
                yield
        finally:
            self._command_timeout_s = previous_s

    def run(
        self,
        command: str,
        *,
        timeout_s: float | None = None,
        lasts_s: float = 0.0,
        on_data: OnData | None = None,
        on_poll: PollCallback = lambda: None,
    ) -> CommandResult:
        """Run a command line on the device and return its result.

        Args:
            command: for the device's `sh`.
            timeout_s: for the whole command; default `command_timeout_s`; ignored with `on_data`.
            lasts_s: how long the command waits or works by itself, in addition to that.
            on_data: receives stdout as it arrives; then only `on_poll` limits the time, and the result has
                no stdout.
            on_poll: called ten times a second while the command runs; may raise.

        Raises:
            DeviceFailure: the device or the adb server failed, or the command timed out.
            Stopped: the stop event was set.
        """
        check_cancelled = self._cancel_check(
            command, None if on_data else (timeout_s or self._command_timeout_s) + lasts_s
        )

        def poll() -> None:
            check_cancelled()
            on_poll()

        try:
            with self._client.polled_by(poll).device_of(self.serial).open_transport() as connection:
                connection.send_command(f"shell,v2,raw:{command}")
                connection.check_okay()
                connection.disable_idle_timeout()
                return self._read(connection, command, on_data)
        except ADB_ERRORS as error:
            raise self._device_failure(command, error) from error

    def shell_output(self, command: str) -> str:
        """Return the stdout of a command; its exit status is ignored."""
        return self.run(command).stdout

    def push(self, file: Path, remote: str, mode: int = 0o644) -> None:
        """Copy a file to the device; raises as `run` does, and `storage_full` if /data is full."""
        what = f"push {file.name} to {remote}"
        check_cancelled = self._cancel_check(what, self._settings.transfer_timeout_s)
        with file.open("rb") as source:
            try:
                self._client.polled_by(check_cancelled).device_of(self.serial).sync.push(source, remote, mode)
            except ADB_ERRORS as error:
                raise self._device_failure(what, error, transfer=True) from error

    def pull(self, remote: str, file: Path, *, max_bytes: int) -> None:
        """Copy a file of at most `max_bytes` from the device.

        Raises:
            PullRefused: adbd rejected the pull; the device itself is healthy.
            DeviceFailure, Stopped: as `run` does.
            OSError: `file` cannot be written.
        """
        size = 0
        with file.open("wb") as target:
            for chunk in self._content(remote):
                size += len(chunk)
                if size > max_bytes:
                    raise DeviceFailure(
                        Fault.BAD_REPORT, self.stage, f"{remote} is larger than {max_bytes} bytes"
                    )
                target.write(chunk)

    def _content(self, remote: str) -> Iterator[bytes]:
        what = f"pull {remote}"
        check_cancelled = self._cancel_check(what, self._settings.transfer_timeout_s)
        try:
            yield from (
                self._client.polled_by(check_cancelled).device_of(self.serial).sync.iter_content(remote)
            )
        except ADB_ERRORS as error:
            failure = self._device_failure(what, error)
            # adbd's own refusal names the path; a broken connection does not.
            if failure.fault is Fault.COMMAND_FAILED and error.args[1:] == (remote,):
                raise PullRefused(failure.fault, failure.stage, failure.reason, failure.details) from error
            raise failure from error

    def state(self) -> str | None:
        """Return the device's state on the adb server; None: the server does not list it.

        Raises:
            DeviceFailure: `adb_server_gone`.
        """
        try:
            return self._client.polled_by(self._check_cancelled).state_of(self.serial)
        except ADB_ERRORS as error:
            raise self._server_gone(error) from error

    def pause(self, seconds: float) -> None:
        """Sleep; raises Stopped when the stop event is set."""
        if self._stop.wait(seconds):
            raise Stopped(f"stopped while waiting for {self.serial}")

    def reboot(self) -> None:
        """Reboot the device and return once it has gone down: until then, answers are of the old boot.

        Raises:
            DeviceFailure: the reboot command failed, or the device does not go down.
            Stopped: the stop event was set.
        """
        check_cancelled = self._cancel_check("reboot", self._settings.connect_timeout_s)
        try:
            with (
                self._client.polled_by(check_cancelled).device_of(self.serial).open_transport() as connection
            ):
                connection.send_command("reboot:")
                connection.check_okay()
        except ADB_ERRORS as error:
            raise self._device_failure("reboot", error) from error
        while self.state() == "device":
            check_cancelled()
            self.pause(_POLL_S)

    def _read(self, connection: AdbConnection, command: str, on_data: OnData | None) -> CommandResult:
        unread, out, err, received = bytearray(), bytearray(), bytearray(), 0
        while chunk := connection.recv(65536):
            received += len(chunk)
            if received > MAX_OUTPUT_BYTES:
                raise DeviceFailure(
                    Fault.BAD_REPORT, self.stage, f"`{_short(command)}` printed over {MAX_OUTPUT_BYTES} bytes"
                )
            unread += chunk
            for kind, data in _packets(unread):
                if kind == _STDOUT and on_data is not None:
                    on_data(data)
                elif kind == _STDOUT:
                    out += data
                elif kind == _STDERR:
                    err += data
                elif kind == _EXIT:
                    return CommandResult(
                        stdout=_text(out), stderr=_text(err), status=data[0] if data else 255
                    )
        raise EOFError("the connection was closed")

    def _check_cancelled(self) -> None:
        if self._stop.is_set():
            raise Stopped(f"stopped while waiting for the state of {self.serial}")

    def _cancel_check(self, what: str, limit_s: float | None) -> PollCallback:
        """Return a callback that raises when the stop event is set or `limit_s` has passed."""
        started_s = time.monotonic()

        def check_cancelled() -> None:
            if self._stop.is_set():
                raise Stopped(f"stopped during `{_short(what)}`")
            if limit_s is not None and time.monotonic() - started_s > limit_s:
                raise DeviceFailure(
                    Fault.NO_ANSWER,
                    self.stage,
                    f"{self.serial} did not finish `{_short(what)}` in {limit_s:.0f} s",
                )

        return check_cancelled

    def _device_failure(self, what: str, error: Exception, *, transfer: bool = False) -> DeviceFailure:
        """Convert an adb error into a `DeviceFailure`; its fault follows from the device's state now.

        The failure ends the attempt; then `DeviceManager` recovers the device.
        """
        details = {"command": what[:2000], "serial": self.serial, "error": str(error)[:2000]}
        state = self.state()
        reason = f"{self.serial}: `{_short(what)}`: {details['error'] or 'the connection was closed'}"
        if state != "device":
            return DeviceFailure(fault_of_state(state), self.stage, reason, details)
        if isinstance(error, AdbTimeout | TimeoutError):
            return DeviceFailure(Fault.NO_ANSWER, self.stage, reason, details)
        if transfer and str(error).strip("' ") == "FAIL" and self._is_full():
            return DeviceFailure(Fault.STORAGE_FULL, self.stage, f"{reason}: no space left", details)
        return DeviceFailure(Fault.COMMAND_FAILED, self.stage, reason, details)

    def _is_full(self) -> bool:
        return free_kb(self.shell_output("df -k /data")) in range(1024)

    def _server_gone(self, error: Exception) -> DeviceFailure:
        reason = f"the worker's own adb server on port {self._client.port} does not answer: {error}"
        return DeviceFailure(Fault.ADB_SERVER_GONE, self.stage, reason, {"error": str(error)[:2000]})


def _packets(unread: bytearray) -> Iterator[tuple[int, bytes]]:
    """Remove complete packets of the shell protocol (adb's shell_protocol.h) from `unread` and yield them."""
    while len(unread) >= _HEADER.size:
        kind, length = _HEADER.unpack_from(unread)
        end = _HEADER.size + length
        if len(unread) < end:
            return
        data = bytes(unread[_HEADER.size : end])
        del unread[:end]
        yield kind, data


def _text(raw: bytearray) -> str:
    return raw.decode("utf-8", "replace").replace("\r\n", "\n")


def _short(command: str) -> str:
    return command if len(command) <= 120 else f"{command[:117]}..."
