"""Runs our workers as children: each in a process session of its own, restarted whenever it ends.

Restarted whatever its exit code, because a prefork worker's cold shutdown exits
with 0. Stopped in order; nothing of a worker's session outlives its stop.
"""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from signal import SIGTERM
from types import TracebackType
from typing import Self

from nnlite.host import child_process, processes
from nnlite.host.processes import ProcessIdentity
from nnlite.local import logs, orphans
from nnlite.local.home import LocalInstance

#: Between two looks at the children, seconds.
_ROUND_S = 0.2
#: First and longest pause before a restart, seconds; doubled each time, reset by a long run.
_FIRST_PAUSE_S = 1.0
_MAX_PAUSE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A program to keep running."""

    #: Unique; names its log.
    name: str
    argv: Sequence[str]
    #: All of its environment; None: ours.
    environment: Mapping[str, str] | None = None
    #: Those of a lower rank are gone before the next are asked to stop.
    stop_rank: int = 0


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """How one worker fares."""

    name: str
    #: None between two runs.
    pid: int | None
    restarts: int
    #: Of the last run that ended; negative: the signal; None: none ended yet.
    exit_status: int | None


class Supervisor:
    """Keeps workers running between `start` and `stop`; a context manager does both.

    One thread makes every child and stays until they are gone: the kernel
    signals them when the thread that made them ends.
    """

    def __init__(
        self, site: LocalInstance, workers: Sequence[Worker], *, stop_timeout_s: float | None = None
    ) -> None:
        self._site = site
        self._stop_timeout_s = site.bounds.stop_timeout_s if stop_timeout_s is None else stop_timeout_s
        self._children = [_Child(site, worker) for worker in workers]
        self._started = threading.Event()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """End what a dead predecessor left, then start every worker.

        Raises:
            OSError: a program cannot be started, or the home cannot be written.
        """
        orphans.end_orphans(self._site.home, self._stop_timeout_s)
        self._thread.start()
        self._started.wait(self._site.bounds.start_timeout_s)
        self._raise_error()

    def stop(self) -> None:
        """Ask the workers to stop, rank by rank; end with SIGKILL whoever is not gone in time.

        Raises:
            TimeoutError: a process outlived SIGKILL.
        """
        self._stopping.set()
        ranks = len({child.worker.stop_rank for child in self._children})
        self._thread.join(self._site.bounds.start_timeout_s + 2 * ranks * self._stop_timeout_s)
        self._raise_error()

    def status(self) -> list[WorkerStatus]:
        """Return how each worker fares, in the order in which they were given."""
        return [child.status() for child in self._children]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
            if any([child.tend() for child in self._children]):
                leaders = {child.worker.name: child.leader for child in self._children if child.leader}
                orphans.write_workers(self._site.home, owner, leaders)
            self._started.set()
            self._stopping.wait(_ROUND_S)

    def _stop_all(self) -> None:
        ranked = sorted(self._children, key=lambda child: child.worker.stop_rank)
        for _, rank in groupby(ranked, key=lambda child: child.worker.stop_rank):
            together = list(rank)
            for child in together:
                child.ask_to_stop()
            deadline = time.monotonic() + self._stop_timeout_s
            while any(child.runs for child in together) and time.monotonic() < deadline:
                time.sleep(processes.POLL_S)
            for child in together:
                child.clear_away(self._stop_timeout_s)
        orphans.forget_workers(self._site.home)


class _Child:
    """One worker, between its runs too."""

    def __init__(self, site: LocalInstance, worker: Worker) -> None:
        self.worker = worker
        self.leader: ProcessIdentity | None = None
        self._site = site
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._exit_status: int | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._started_at = 0.0
        self._not_before = 0.0

    @property
    def runs(self) -> bool:
        """Whether its process has not ended; looks without reaping, so that its PID stays its own."""
        return (
            self._process is not None
            and os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        )

    def tend(self) -> bool:
        """Start it, or start it again when its pause is over; say whether there is a new process."""
        if self.runs:
            return False
        if self._process is not None:
            self._note_end()
        if time.monotonic() < self._not_before:
            return False
        self._restarts += self._exit_status is not None
        self._spawn()
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process itself, not to its children: it stops them."""
        if self._process is not None and self.runs:
            self._process.send_signal(SIGTERM)

    def clear_away(self, timeout_s: float) -> None:
        """End every process of its session, then reap it.

        Raises:
            TimeoutError: one outlived SIGKILL.
        """
        if self._process is None or self.leader is None:
            return
        processes.kill_session(self.leader, timeout_s)
        self._exit_status = self._process.wait(timeout_s)
        self._process = self.leader = None

    def status(self) -> WorkerStatus:
        """Return how it fares."""
        process = self._process
        return WorkerStatus(
            name=self.worker.name,
            pid=process.pid if process else None,
            restarts=self._restarts,
            exit_status=self._exit_status,
        )

    def _note_end(self) -> None:
        # Its children may go on without it: a pool, a conversion, an emulator.
        self.clear_away(self._site.bounds.stop_timeout_s)
        if time.monotonic() - self._started_at > _MAX_PAUSE_S:
            self._pause_s = _FIRST_PAUSE_S
        self._not_before = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

    def _spawn(self) -> None:
        log = self._site.logs / f"{self.worker.name}.log"
        logs.bound(log, self._site.bounds.log_max_bytes)
        with self._site.open_log(self.worker.name) as output:
            self._process = child_process.start(
                self.worker.argv, output, environment=self.worker.environment, tethered=True, new_session=True
            )
        self.leader = processes.identify(self._process.pid)
        self._started_at = time.monotonic()
