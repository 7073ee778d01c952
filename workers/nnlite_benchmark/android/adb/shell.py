"""One device over the wire: commands, pushes and pulls, each with a deadline.

Every fault comes out as a `DeviceFailure` that names the command, the serial
and what was seen; which fault it is, the adb server is asked when it happens.
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
from nnlite_benchmark.android.adb.client import ADB_ERRORS, Look, Wire
from nnlite_benchmark.android.adb.states import fault_of_state
from nnlite_benchmark.android.properties.parsers import free_kb
from nnlite_benchmark.device import DeviceFailure

#: Between two looks at a device that is to go away, seconds.
_POLL_S: Final = 0.05
#: What one command may take that tidies up after the worker was told to stop, seconds.
_PARTING_S: Final = 2.0
#: Most that one command may print.
MAX_OUTPUT_BYTES: Final = 128 * 1024 * 1024
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_HEADER: Final = struct.Struct("<BI")

OnData = Callable[[bytes], None]


class PullRefused(DeviceFailure):
    """The device is there and well, and says no to a pull: the file is not there, or not for us."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command on the device said."""

    stdout: str
    stderr: str
    status: int

    @property
    def text(self) -> str:
        """Everything that it printed, without surrounding white space."""
        return f"{self.stdout}{self.stderr}".strip()


class Shell:
    """Speaks to one device; not for use by two threads at once."""

    def __init__(self, wire: Wire, serial: str, settings: AndroidSettings, stop: threading.Event) -> None:
        """Args: `stop` ends every wait with `Stopped`."""
        self.serial: str = serial
        #: Stands in every failure: where the work is.
        self.stage: Stage = Stage.PREPARE
        self._wire = wire
        self._settings = settings
        self._stop = stop
        self._command_timeout_s = settings.command_timeout_s

    @contextmanager
    def cancelled_by(self, stop: threading.Event) -> Iterator[None]:
        """Let another event end the waits while the block runs."""
        kept, self._stop = self._stop, stop
        try:
            yield
        finally:
            self._stop = kept

    @contextmanager
    def cleanup_mode(self) -> Iterator[None]:
        """Let nothing but time end the waits, and little of it when the worker is to stop: for tidying up."""
        kept_s = self._command_timeout_s
        if self._stop.is_set():
            self._command_timeout_s = min(kept_s, _PARTING_S)
        try:
            with self.cancelled_by(threading.Event()):
                yield
        finally:
            self._command_timeout_s = kept_s

    def run(
        self,
        command: str,
        *,
        timeout_s: float | None = None,
        on_data: OnData | None = None,
        on_look: Look = lambda: None,
    ) -> CommandResult:
        """Run a command line on the device and return what it said.

        Args:
            command: for the device's `sh`.
            timeout_s: for the whole command; default `command_timeout_s`; ignored with `on_data`.
            on_data: gets stdout as it comes; then `on_look` sets the limits, and stdout is not kept.
            on_look: called ten times a second while the command runs; may raise.

        Raises:
            DeviceFailure: the device, the adb server or the command did not answer as it should.
            Stopped: the stop event was set.
        """
        look = self._looker(command, None if on_data else timeout_s or self._command_timeout_s)

        def look_at_all() -> None:
            look()
            on_look()

        try:
            with self._wire.watched(look_at_all).attached(self.serial).open_transport() as connection:
                connection.send_command(f"shell,v2,raw:{command}")
                connection.check_okay()
                connection.wait_without_limit()
                return self._read(connection, command, on_data)
        except ADB_ERRORS as error:
            raise self._failure(command, error) from error

    def ask(self, command: str) -> str:
        """Return the stdout of a command, whatever its exit status."""
        return self.run(command).stdout

    def push(self, file: Path, remote: str, mode: int = 0o644) -> None:
        """Copy a file to the device; raises as `run` does, `storage_full` where that is why."""
        what = f"push {file.name} to {remote}"
        look = self._looker(what, self._settings.transfer_timeout_s)
        with file.open("rb") as source:
            try:
                self._wire.watched(look).attached(self.serial).sync.push(source, remote, mode)
            except ADB_ERRORS as error:
                raise self._failure(what, error, transfer=True) from error

    def pull(self, remote: str, file: Path, *, max_bytes: int) -> None:
        """Copy a file of at most `max_bytes` from the device.

        Raises:
            PullRefused: the device says no, and nothing else is wrong.
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
        look = self._looker(what, self._settings.transfer_timeout_s)
        try:
            yield from self._wire.watched(look).attached(self.serial).sync.iter_content(remote)
        except ADB_ERRORS as error:
            failure = self._failure(what, error)
            # Only what adbd itself answered names the path; a connection that breaks off does not.
            if failure.fault is Fault.COMMAND_FAILED and error.args[1:] == (remote,):
                raise PullRefused(failure.fault, failure.stage, failure.reason, failure.details) from error
            raise failure from error

    def state(self) -> str | None:
        """Return the device's state as the adb server has it; None: it does not know the device.

        Raises:
            DeviceFailure: `adb_server_gone`.
        """
        try:
            return self._wire.watched(self._heed).state_of(self.serial)
        except ADB_ERRORS as error:
            raise self._gone(error) from error

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopped when the stop event is set."""
        if self._stop.wait(seconds):
            raise Stopped(f"stopped while waiting for {self.serial}")

    def reboot(self) -> None:
        """Boot the device anew; returns when it has gone down: what it says until then is of the old boot.

        Raises:
            DeviceFailure: it cannot be told, or does not go down.
            Stopped: the stop event was set.
        """
        look = self._looker("reboot", self._settings.connect_timeout_s)
        try:
            with self._wire.watched(look).attached(self.serial).open_transport() as connection:
                connection.send_command("reboot:")
                connection.check_okay()
        except ADB_ERRORS as error:
            raise self._failure("reboot", error) from error
        while self.state() == "device":
            look()
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
        raise EOFError("the connection broke off")

    def _heed(self) -> None:
        if self._stop.is_set():
            raise Stopped(f"stopped while {self.serial} is asked")

    def _looker(self, what: str, limit_s: float | None) -> Look:
        """Return a function that raises when the stop event is set or the time is over."""
        started_s = time.monotonic()

        def look() -> None:
            if self._stop.is_set():
                raise Stopped(f"stopped during `{_short(what)}`")
            if limit_s is not None and time.monotonic() - started_s > limit_s:
                raise DeviceFailure(
                    Fault.NO_ANSWER,
                    self.stage,
                    f"{self.serial} did not finish `{_short(what)}` in {limit_s:.0f} s",
                )

        return look

    def _failure(self, what: str, error: Exception, *, transfer: bool = False) -> DeviceFailure:
        """Say which fault it is: the server is asked what it knows of the device now."""
        details = {"command": what[:2000], "serial": self.serial, "error": str(error)[:2000]}
        state = self.state()
        reason = f"{self.serial}: `{_short(what)}`: {str(error) or 'the connection broke off'}"
        if state != "device":
            return DeviceFailure(fault_of_state(state), self.stage, reason, details)
        if isinstance(error, AdbTimeout | TimeoutError):
            return DeviceFailure(Fault.NO_ANSWER, self.stage, reason, details)
        if transfer and str(error).strip("' ") == "FAIL" and self._is_full():
            return DeviceFailure(Fault.STORAGE_FULL, self.stage, f"{reason}: no space left", details)
        return DeviceFailure(Fault.COMMAND_FAILED, self.stage, reason, details)

    def _is_full(self) -> bool:
        return free_kb(self.ask("df -k /data")) in range(1024)

    def _gone(self, error: Exception) -> DeviceFailure:
        reason = f"the worker's own adb server on port {self._wire.port} does not answer: {error}"
        return DeviceFailure(Fault.ADB_SERVER_GONE, self.stage, reason, {"error": str(error)[:2000]})


def _packets(unread: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take whole packets of the shell protocol (adb's shell_protocol.h) off the front of `unread`."""
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
