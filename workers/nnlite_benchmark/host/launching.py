"""Starts measuring processes: each as a new Python, or as a fork of a server that has the imports done."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Protocol

from nnlite.errors import NnliteError
from nnlite.host import child_process
from nnlite.host.child_process import KILL_TIMEOUT_S, kill_group, minimal_environment
from nnlite_benchmark.host.memory import HUGE_PAGES

#: How often a stop is looked for during a wait, seconds.
LOOK_S: Final = 0.1
#: Runs of one fork server. Its forks have the same address layout, on which speed depends a little: by
#: replacing it, runs far apart do not.
RUNS_OF_A_SERVER: Final = 50
_MAX_MESSAGE_BYTES: Final = 64
_LOG_BYTES: Final = 2000


class LaunchError(NnliteError):
    """No measuring process could be started."""


class MeasuringProcess(Protocol):
    """A measuring process, the leader of a process group of its own."""

    @property
    def pid(self) -> int:
        """Its PID."""

    @property
    def stages(self) -> int:
        """Descriptor of the pipe on which it prints its stages."""

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return its exit status, or minus the signal that ended it.

        Raises:
            TimeoutError: it has not ended within `timeout_s`.
        """

    def end(self) -> None:
        """Kill what is left of its group; call it once, whatever happened."""


class SpawnedProcess:
    """A measuring process that is a new Python."""

    def __init__(
        self, request_file: Path, stderr: IO[bytes], module: str = "runner", *, huge_pages: bool
    ) -> None:
        self._process = child_process.start(
            [sys.executable, "-P", "-m", f"nnlite_benchmark.host.{module}", str(request_file)],
            stderr,
            environment=_environment(huge_pages=huge_pages),
            stdout=subprocess.PIPE,
            cwd=request_file.parent,
        )
        assert self._process.stdout is not None  # noqa: S101 -- a pipe was asked for
        self.pid: Final = self._process.pid
        self.stages: Final = self._process.stdout.fileno()

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; as `MeasuringProcess`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def end(self) -> None:
        """Kill what is left of its group."""
        kill_group(self._process)


class ForkServer:
    """Forks measuring processes: starts a server when one is needed, and replaces it. Not thread-safe."""

    def __init__(self, *, huge_pages: bool) -> None:
        self._huge_pages = huge_pages
        self._server: _Server | None = None
        self._runs = 0

    def launch(
        self, request_file: Path, stderr: IO[bytes], timeout_s: float, on_poll: Callable[[], None]
    ) -> "ForkedProcess":
        """Start the measuring process of a request.

        Args:
            request_file: the request.
            stderr: where its stderr goes.
            timeout_s: for the start of a server too.
            on_poll: called several times a second; what it raises ends the wait.

        Raises:
            LaunchError: the server did not start, ended, or did not answer in time.
        """
        try:
            if self._server is None or not self._server.alive or self._runs >= RUNS_OF_A_SERVER:
                self.close()
                self._server, self._runs = _Server(huge_pages=self._huge_pages), 0
            self._runs += 1
            return self._server.launch(request_file, stderr, timeout_s, on_poll)
        except OSError as error:
            self.close()
            raise LaunchError(f"the fork server cannot be started: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the server and with it its measuring process; the next run starts another."""
        if self._server is not None:
            self._server.close()
            self._server = None


class _Server:
    """A fork server and the socket to it; see `fork_server` for what is said on it."""

    def __init__(self, *, huge_pages: bool) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- `close` closes it
        with theirs:
            self._process = child_process.start(
                [sys.executable, "-P", "-m", "nnlite_benchmark.host.fork_server", str(os.getpid())],
                self._log,
                environment=_environment(huge_pages=huge_pages),
                stdin=theirs.fileno(),
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def launch(
        self, request_file: Path, stderr: IO[bytes], timeout_s: float, on_poll: Callable[[], None]
    ) -> "ForkedProcess":
        """Fork a measuring process; raises as `ForkServer.launch`."""
        stages, write_end = os.pipe()
        try:
            socket.send_fds(self._socket, [os.fsencode(request_file)], [write_end, stderr.fileno()])
            pid = int(self.received(timeout_s, on_poll))
        except BaseException as error:
            os.close(stages)
            if not isinstance(error, OSError):
                raise
            raise LaunchError(f"the fork server failed: {error}; it wrote: {self._log_tail()}") from error
        finally:
            os.close(write_end)
        return ForkedProcess(self, pid, stages)

    def received(self, timeout_s: float, on_poll: Callable[[], None] = lambda: None) -> bytes:
        """Return its next message.

        Raises:
            TimeoutError: there was none within `timeout_s`.
            ConnectionError: it has ended.
        """
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            on_poll()
            if select.select([self._socket], [], [], min(LOOK_S, left_s))[0]:
                if message := self._socket.recv(_MAX_MESSAGE_BYTES):
                    return message
                raise ConnectionError("it has ended")
        raise TimeoutError(f"no answer within {timeout_s:.0f} s")

    def reap(self) -> None:
        """Let it reap the measuring process, whose group was killed.

        Raises:
            OSError: it has ended, or does not answer.
        """
        self._socket.send(b"reap")
        self.received(KILL_TIMEOUT_S)

    def close(self) -> None:
        """Kill it; the kernel kills its measuring process."""
        kill_group(self._process)
        self._socket.close()
        self._log.close()

    def _log_tail(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_BYTES))
        return self._log.read().decode("utf-8", "replace").strip() or "nothing"


class ForkedProcess:
    """A measuring process that is a fork of the server."""

    def __init__(self, server: _Server, pid: int, stages: int) -> None:
        self.pid: Final = pid
        self.stages: Final = stages
        self._server = server
        self._status: int | None = None

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; as `MeasuringProcess`. If the server has ended, the kernel has killed it."""
        if self._status is None:
            try:
                self._status = int(self._server.received(timeout_s))
            except ConnectionError:
                self._status = -signal.SIGKILL
        return self._status

    def end(self) -> None:
        """Kill what is left of its group, and let the server reap it."""
        os.close(self.stages)
        if self._server.alive:  # else it is reaped, and its number may be another's
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        try:
            self.wait(KILL_TIMEOUT_S)
            self._server.reap()
        except OSError:
            self._server.close()


def _environment(*, huge_pages: bool) -> dict[str, str]:
    # NumPy computes nothing here: no thread pool, which would be lost in a fork.
    environment = minimal_environment("PYTHONPATH", "VIRTUAL_ENV") | {"OPENBLAS_NUM_THREADS": "1"}
    return environment | HUGE_PAGES if huge_pages else environment
