"""One device over the wire: commands, pushes and pulls, each with a deadline.

Every fault comes out as a `DeviceFailure` that names the command, the serial
and what was seen; which fault it is, the adb server is asked when it happens.
"""

import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adbutils import AdbConnection, AdbDevice
from adbutils.errors import AdbError, AdbTimeout

from nnlite.quiet import Stopped
from nnlite.settings import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.wire import Wire
from nnlite_benchmark.device import DeviceFailure

#: How often the stop event is looked at, seconds.
_LOOK_S: Final = 0.1
#: Most that one command may print.
MAX_OUTPUT_BYTES: Final = 128 * 1024 * 1024
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_HEADER: Final = struct.Struct("<BI")

OnData = Callable[[bytes], None]


@dataclass(frozen=True, kw_only=True)
class Answer:
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

    @contextmanager
    def heeding(self, stop: threading.Event) -> Iterator[None]:
        """Let another event end the waits while the block runs."""
        kept, self._stop = self._stop, stop
        try:
            yield
        finally:
            self._stop = kept

    def run(
        self,
        command: str,
        *,
        timeout_s: float | None = None,
        on_data: OnData | None = None,
        on_look: Callable[[], None] = lambda: None,
    ) -> Answer:
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
        limit_s = None if on_data else timeout_s or self._settings.command_timeout_s
        try:
            with self._device().open_transport(timeout=self._settings.command_timeout_s) as connection:
                connection.send_command(f"shell,v2,raw:{command}")
                connection.check_okay()
                return self._read(connection, command, limit_s, on_data, on_look)
        except (OSError, AdbError, EOFError) as error:
            raise self._failure(command, error) from error

    def ask(self, command: str) -> str:
        """Return the stdout of a command, whatever its exit status."""
        return self.run(command).stdout

    def push(self, file: Path, remote: str, mode: int = 0o644) -> None:
        """Copy a file to the device; raises as `run` does, `storage_full` where that is why."""
        what = f"push {file.name} to {remote}"
        deadline_s = time.monotonic() + self._settings.transfer_timeout_s
        try:
            with file.open("rb") as source:
                self._device().sync.push(_Watched(source, self._looker(what, deadline_s)), remote, mode)
        except (OSError, AdbError, EOFError, struct.error, AssertionError) as error:
            raise self._failure(what, error, transfer=True) from error

    def pull(self, remote: str, file: Path, *, max_bytes: int) -> None:
        """Copy a file of at most `max_bytes` from the device; raises as `run` does."""
        what = f"pull {remote}"
        look = self._looker(what, time.monotonic() + self._settings.transfer_timeout_s)
        size = 0
        try:
            with file.open("wb") as target:
                for chunk in self._device().sync.iter_content(remote):
                    look()
                    size += len(chunk)
                    if size > max_bytes:
                        raise DeviceFailure(
                            Fault.BAD_REPORT, self.stage, f"{remote} is larger than {max_bytes} bytes"
                        )
                    target.write(chunk)
        except (OSError, AdbError, EOFError, struct.error) as error:
            raise self._failure(what, error) from error

    def state(self) -> str | None:
        """Return the device's state as the adb server has it; None: it does not know the device.

        Raises:
            DeviceFailure: `adb_server_gone`.
        """
        try:
            return self._wire.state_of(self.serial)
        except (OSError, AdbError, ValueError) as error:
            raise self._gone(error) from error

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopped when the stop event is set."""
        if self._stop.wait(seconds):
            raise Stopped(f"stopped while waiting for {self.serial}")

    def reboot(self) -> None:
        """Tell the device to boot anew; raises as `run` does."""
        try:
            with self._device().open_transport() as connection:
                connection.send_command("reboot:")
                connection.check_okay()
        except (OSError, AdbError, EOFError) as error:
            raise self._failure("reboot", error) from error

    def _device(self) -> AdbDevice:
        return AdbDevice(self._wire, serial=self.serial)

    def _read(
        self,
        connection: AdbConnection,
        command: str,
        limit_s: float | None,
        on_data: OnData | None,
        on_look: Callable[[], None],
    ) -> Answer:
        deadline_s = None if limit_s is None else time.monotonic() + limit_s
        look = self._looker(command, deadline_s)
        unread, out, err, received = bytearray(), bytearray(), bytearray(), 0
        while True:
            look()
            on_look()
            if not select.select([connection.conn], [], [], _LOOK_S)[0]:
                continue
            chunk = connection.conn.recv(65536)
            if not chunk:
                raise EOFError("the connection broke off")
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
                    return Answer(stdout=_text(out), stderr=_text(err), status=data[0] if data else 255)

    def _looker(self, what: str, deadline_s: float | None) -> Callable[[], None]:
        """Return a function that raises when the stop event is set or the deadline is over."""
        started_s = time.monotonic()

        def look() -> None:
            if self._stop.is_set():
                raise Stopped(f"stopped during `{_short(what)}`")
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise DeviceFailure(
                    Fault.NO_ANSWER,
                    self.stage,
                    f"{self.serial} did not finish `{_short(what)}` in {deadline_s - started_s:.0f} s",
                )

        return look

    def _failure(self, what: str, error: Exception, *, transfer: bool = False) -> DeviceFailure:
        """Say which fault it is: the server is asked what it knows of the device now."""
        details = {"command": what[:2000], "serial": self.serial, "error": str(error)[:2000]}
        state = self.state()
        reason = f"{self.serial}: `{_short(what)}`: {error or type(error).__name__}"
        if state is None:
            return DeviceFailure(Fault.DISCONNECTED, self.stage, reason, details)
        if state in _FAULT_OF_STATE:
            return DeviceFailure(_FAULT_OF_STATE[state], self.stage, reason, details)
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


_FAULT_OF_STATE: Final = {
    "offline": Fault.OFFLINE,
    "connecting": Fault.OFFLINE,
    "authorizing": Fault.UNAUTHORIZED,
    "unauthorized": Fault.UNAUTHORIZED,
}


def fault_of_state(state: str | None) -> Fault:
    """Return the fault that a state other than `device` is."""
    return Fault.DISCONNECTED if state is None else _FAULT_OF_STATE.get(state, Fault.OFFLINE)


def free_kb(df_output: str) -> int | None:
    """Return the free space of the one file system that `df -k PATH` shows; None: it cannot be read."""
    words = df_output.strip().rpartition("\n")[2].split()
    try:
        return int(words[3])
    except (IndexError, ValueError):
        return None


class _Watched:
    """A file that looks at the clock and the stop event whenever it is read."""

    def __init__(self, source: object, look: Callable[[], None]) -> None:
        self._source = source
        self._look = look

    def read(self, size: int) -> bytes:
        self._look()
        chunk: bytes = self._source.read(size)  # type: ignore[attr-defined]
        return chunk


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
