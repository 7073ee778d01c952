"""Benchmark workers as forks of a process that has imported what they need: `python -m device.worker_forks`.

A new Python spends most of a worker's start, two seconds of processor time, on imports. Over a socket on the
standard input of that process:

    tests -> it   the worker's arguments and environment, with a descriptor: for what it prints
    it -> tests   PID of the worker
    it -> tests   PID and exit status of a worker that has ended
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Final

from waiting import HANG_S

_MAX_MESSAGE_BYTES: Final = 1 << 17
#: The program of workers, and what it imports later: for its device, and as plug-ins of libraries.
_WORKER: Final = "nnlite_benchmark.__main__"
_LATER: Final = (
    "celery.apps.worker",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "kombu.transport.redis",
    "nnlite.worker.consumer",
    "nnlite_benchmark.android.device",
    "nnlite_benchmark.android.emulator.emulator",
    "numpy.ma",
    "psycopg2.extras",
)


class Fork:
    """A worker that was forked, with what tests use of `subprocess.Popen`."""

    def __init__(self, forks: "WorkerForks", pid: int) -> None:
        self.pid: Final = pid
        self.returncode: int | None = None
        self._forks = forks

    def poll(self) -> int | None:
        """Return its exit status, or minus the signal that ended it; None while it runs."""
        self._forks.receive(0)
        return self.returncode

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return its exit status.

        Raises:
            TimeoutError: it has not ended within `timeout_s`.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.returncode is None:
            if (left_s := deadline_s - time.monotonic()) < 0:
                raise TimeoutError(f"worker {self.pid} runs after {timeout_s:.0f} s")
            self._forks.receive(left_s)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)


class WorkerForks:
    """The process that workers are forked from; it ends with this one."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._running: dict[int, Fork] = {}
        tests = Path(__file__).parents[1]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "device.worker_forks"],
                stdin=theirs,
                env=os.environ | {"PYTHONPATH": str(tests)},
                process_group=0,
            )
        atexit.register(self.close)

    def start(self, arguments: Sequence[str], output: IO[bytes], environment: Mapping[str, str]) -> Fork:
        """Fork a worker, the leader of a session, with `output` as its standard output and standard error."""
        request = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        socket.send_fds(self._socket, [request], [output.fileno()])
        while (pid := self.receive(HANG_S)) is None:
            pass
        self._running[pid] = Fork(self, pid)
        return self._running[pid]

    def receive(self, timeout_s: float) -> int | None:
        """Receive one message, if one comes within the time; return the PID if it is a new worker's."""
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return None
        if not (message := self._socket.recv(_MAX_MESSAGE_BYTES)):
            raise RuntimeError("the process that workers are forked from has ended; see its stderr")
        pid, *status = map(int, message.split())
        if not status:
            return pid
        self._running.pop(pid).returncode = status[0]
        return None

    def close(self) -> None:
        """End the process."""
        atexit.unregister(self.close)
        self._socket.close()
        try:
            self._process.wait(HANG_S)
        finally:
            self._process.kill()
            self._process.wait(HANG_S)


@cache
def forks() -> WorkerForks:
    """Return those of this process, started on the first call."""
    return WorkerForks()


def _main() -> None:
    """Fork workers until the tests close the socket; in a worker, be it."""
    sys.path.remove(str(Path(__file__).parents[1]))  # workers have no tests on their path
    worker = importlib.import_module(_WORKER)
    for module in _LATER:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as tests:
        is_worker = _serve(tests)
    if is_worker:
        sys.exit(worker.main())


def _serve(tests: socket.socket) -> bool:
    """Fork on request; returns False at the end, and True in each fork."""
    running: dict[int, int] = {}
    while True:
        for ready in select.select([tests.fileno(), *running], [], [])[0]:
            if pid := running.pop(ready, 0):
                os.close(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                tests.send(f"{pid} {status}".encode())
                continue
            request, descriptors, _, _ = socket.recv_fds(tests, _MAX_MESSAGE_BYTES, 1)
            if not request:
                return False
            if (pid := os.fork()) == 0:
                _become(json.loads(request), descriptors[0], (*running, *descriptors))
                return True
            os.close(descriptors[0])
            running[os.pidfd_open(pid)] = pid
            tests.send(str(pid).encode())


def _become(request: dict[str, object], log: int, unused: Sequence[int]) -> None:
    """Have a session, arguments, environment and standard streams, as a worker started by a command has."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, descriptor in enumerate((nothing, log, log)):
        os.dup2(descriptor, stream)
    for descriptor in (nothing, *unused):
        os.close(descriptor)
    sys.argv[1:] = request["arguments"]
    os.environ.clear()
    os.environ.update(request["environment"])


if __name__ == "__main__":
    _main()
