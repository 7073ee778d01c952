"""Supervises workers as child processes: each in its own session, restarted whenever it ends.

They are restarted whatever their exit status, because a prefork worker's cold shutdown
exits with 0. No process of a worker's session outlives its stop.
"""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from signal import SIGTERM
from typing import Self

from nnlite.host import child_process, processes
from nnlite.host.backoff import Backoff
from nnlite.host.processes import ProcessIdentity
from nnlite.local import orphans
from nnlite.local.home import LocalInstance

#: Between two checks of the children, seconds.
_ROUND_S = 0.2
#: Before restarts; a run longer than the longest pause resets it.
_BACKOFF = Backoff(first_s=1.0, max_s=60.0)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A program to keep running."""

    #: Unique; the name of its log.
    name: str
    argv: Sequence[str]
    #: Workers of a lower rank have ended before the next rank is stopped.
    stop_rank: int = 0


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """State of one worker."""

    name: str
    #: None between two runs.
    pid: int | None
    restarts: int
    #: Of the last run that ended; negative: the signal; None: no run has ended yet.
    exit_status: int | None


class Supervisor:
    """Keeps workers running from `start` to `stop`; a context manager does both.

    One thread starts every child and runs until they have ended, because the kernel
    signals them when the thread that started them ends.
    """

    def __init__(self, instance: LocalInstance, workers: Sequence[Worker]) -> None:
        self._instance = instance
        self._stop_timeout_s = instance.limits.stop_timeout_s
        self._children = [_Child(instance, worker) for worker in workers]
        self._started = threading.Event()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """End the workers of a dead supervisor, then start ours.

        Raises:
            OSError: a program cannot be started, or the home cannot be written.
        """
        orphans.end_orphans(self._instance.home, self._stop_timeout_s)
        self._thread.start()
        self._started.wait(self._instance.limits.start_timeout_s)
        self._raise_error()

    def stop(self) -> None:
        """Stop the workers gracefully, rank by rank; kill those that do not end in time.

        Raises:
            TimeoutError: a process outlived SIGKILL.
        """
        self._stopping.set()
        ranks = len({child.worker.stop_rank for child in self._children})
        self._thread.join(self._instance.limits.start_timeout_s + 2 * ranks * self._stop_timeout_s)
        self._raise_error()

    def status(self) -> list[WorkerStatus]:
        """Return the state of each worker, in the order of the constructor's argument."""
        return [child.status() for child in self._children]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            try:
                self._keep_running()
            finally:
                self._stop_all()
        except (OSError, TimeoutError) as error:
            self._error = error
        finally:
            self._started.set()

    def _keep_running(self) -> None:
        owner = processes.identify(os.getpid())
        assert owner is not None  # noqa: S101 - we run
        while not self._stopping.is_set():
            if any([child.start_if_due() for child in self._children]):
                leaders = {child.worker.name: child.leader for child in self._children if child.leader}
                orphans.write_workers(self._instance.home, owner, leaders)
            self._started.set()
            self._stopping.wait(_ROUND_S)

    def _stop_all(self) -> None:
        ranked = sorted(self._children, key=lambda child: child.worker.stop_rank)
        for _, rank in groupby(ranked, key=lambda child: child.worker.stop_rank):
            children = list(rank)
            for child in children:
                child.terminate()
            deadline = time.monotonic() + self._stop_timeout_s
            while any(child.runs for child in children) and time.monotonic() < deadline:
                time.sleep(processes.POLL_S)
            for child in children:
                child.kill(self._stop_timeout_s)
        orphans.forget_workers(self._instance.home)


class _Child:
    """One worker, also between its runs."""

    def __init__(self, instance: LocalInstance, worker: Worker) -> None:
        self.worker = worker
        self.leader: ProcessIdentity | None = None
        self._instance = instance
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._exit_status: int | None = None
        self._short_runs = 0
        self._started_at = 0.0
        self._not_before = 0.0

    @property
    def runs(self) -> bool:
        """Whether its process runs; checked without reaping, so that its PID is not reused."""
        return (
            self._process is not None
            and os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        )

    def start_if_due(self) -> bool:
        """Start it if it does not run and its pause is over; return whether there is a new process."""
        if self.runs:
            return False
        if self._process is not None:
            self._end_run()
        if time.monotonic() < self._not_before:
            return False
        self._restarts += self._exit_status is not None
        self._spawn()
        return True

    def terminate(self) -> None:
        """Send SIGTERM to the process itself, not to its children: it stops them."""
        if self._process is not None and self.runs:
            self._process.send_signal(SIGTERM)

    def kill(self, timeout_s: float) -> None:
        """Kill every process of its session, then reap it.

        Raises:
            TimeoutError: one outlived SIGKILL.
        """
        if self._process is None or self.leader is None:
            return
        processes.kill_session(self.leader, timeout_s)
        self._exit_status = self._process.wait(timeout_s)
        self._process = self.leader = None

    def status(self) -> WorkerStatus:
        """Return its state."""
        process = self._process
        return WorkerStatus(
            name=self.worker.name,
            pid=process.pid if process else None,
            restarts=self._restarts,
            exit_status=self._exit_status,
        )

    def _end_run(self) -> None:
        # Its children may have survived it: a pool, a conversion, an emulator.
        self.kill(self._instance.limits.stop_timeout_s)
        if time.monotonic() - self._started_at > _BACKOFF.max_s:
            self._short_runs = 0
        self._not_before = time.monotonic() + _BACKOFF.pause_s(self._short_runs)
        self._short_runs += 1

    def _spawn(self) -> None:
        with self._instance.open_log(self.worker.name) as output:
            self._process = child_process.start(
                self.worker.argv, output, dies_with_parent=True, new_session=True
            )
        self.leader = processes.identify(self._process.pid)
        self._started_at = time.monotonic()
