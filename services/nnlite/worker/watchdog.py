"""Watchdog process: ends a worker that stays idle although its queue has messages.

Celery's reconnection to Redis can stall without ending the process. The stall may
be in the worker's own event loop, and a process that forks must have no threads;
so the watchdog is a small child process that reads a page of shared memory.
"""

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from nnlite.host.fork import die_with_parent, reset_signals
from nnlite.queue.messages import BrokerUnreachableError

log = structlog.get_logger()

_CHECK_S = 5.0
# Layout of the shared page: byte 0 stopping, byte 1 ready, bytes 8-15 time of the last progress.


class WorkerLiveness:
    """State of a worker in memory shared with everything it forks: stopping, ready, last progress."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def stopping(self) -> bool:
        """Whether the worker is stopping; every wait in it checks this."""
        return self._page[0] != 0

    def stop(self) -> None:
        """Set `stopping` for every process that shares this page; safe in a signal handler."""
        self._page[0] = 1

    def ready(self) -> None:
        """Mark the worker as consuming."""
        self._page[1] = 1
        self.mark_progress()

    def mark_progress(self) -> None:
        """Record progress: a task begins, goes on or ends."""
        struct.pack_into("=d", self._page, 8, time.monotonic())

    def idle_s(self) -> float:
        """Seconds since the last progress; 0 before the worker is ready and once it stops."""
        if not self._page[1] or self.stopping:
            return 0.0
        last_s: float = struct.unpack_from("=d", self._page, 8)[0]
        return time.monotonic() - last_s


@dataclass(frozen=True, kw_only=True)
class Watchdog:
    """Watchdog of one worker process.

    Args:
        queue_has_work: whether messages wait in the worker's queue; raises BrokerUnreachableError.
        idle_limit_s: how long it may be idle while there is work.
        stop_timeout_s: how long a graceful stop may take.
    """

    liveness: WorkerLiveness
    queue_has_work: Callable[[], bool]
    idle_limit_s: float
    stop_timeout_s: float

    def start(self) -> int:
        """Fork the watchdog process, which dies with its parent, and return its PID."""
        worker = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            reset_signals()
            die_with_parent(lambda: os.getppid() != worker)
            self._watch(worker)
        finally:
            os._exit(1)

    def stalled(self, waiting_since_s: float | None, now_s: float) -> bool:
        """Whether the worker was idle with work waiting for longer than the limit."""
        return (
            waiting_since_s is not None
            and now_s - waiting_since_s > self.idle_limit_s
            and self.liveness.idle_s() > self.idle_limit_s
        )

    def _watch(self, worker: int) -> None:
        waiting_since_s: float | None = None
        while True:
            time.sleep(_CHECK_S)
            try:
                waiting = self.queue_has_work()
            except BrokerUnreachableError:
                waiting = False
            now_s = time.monotonic()
            waiting_since_s = (waiting_since_s or now_s) if waiting else None
            if self.stalled(waiting_since_s, now_s):
                log.error("idle while the queue has work: ending the worker", idle_s=self.liveness.idle_s())
                os.kill(worker, signal.SIGTERM)
                time.sleep(self.stop_timeout_s)
                os.kill(worker, signal.SIGKILL)
