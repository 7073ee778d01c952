"""The meter that counts, with prometheus-client.

In a worker its numbers lie in files that all of the worker's processes share:
`serving` must have named their folder before this module is imported.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from nnlite.errors import FailureClass
from nnlite.queue.meter import FAILED, FOLDER_VARIABLE, LEASE_LOST, RELEASED, Meter
from nnlite.vocabulary import WorkKind, WorkState

log = structlog.get_logger()

#: From one run of the canary to the absolute limit of a conversion, seconds.
STAGE_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600, 1800)
MEMORY_BUCKETS_BYTES = tuple(mib << 20 for mib in (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384))

#: Series that stand at 0 from the start: a rate is blind to the first of those that appear later.
_OUTCOMES = ("done", RELEASED, LEASE_LOST)
#: `lost` is the reaper's word and `released` an outcome.
_CLASSES = tuple(set(FailureClass) - {FailureClass.LOST, FailureClass.RELEASED})


#: The files of one process, and about three times what it comes to write into each.
_FILE_BYTES = {"counter": 16 << 10, "gauge_livesum": 4 << 10, "histogram": 128 << 10}
_P = ParamSpec("_P")


@cache
def _reserve_files(pid: int) -> None:
    """Make the files of this process with all of their pages.

    Touching a page that a full disk cannot give would end the process (SIGBUS).
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:  # one process that answers itself
        return
    for kind, size_bytes in _FILE_BYTES.items():
        file = Path(folder, f"{kind}_{pid}.db")
        if file.exists():  # of a dead process with the same PID, whose counts stand
            continue
        being_made = file.with_suffix(".new")
        with being_made.open("wb") as opened:
            os.posix_fallocate(opened.fileno(), 0, size_bytes)
        being_made.rename(file)


def _harmless(count: Callable[_P, None]) -> Callable[_P, None]:
    """Let work go on that cannot be counted: the folder of the files may be full, or gone."""

    @wraps(count)
    def counted(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            _reserve_files(os.getpid())
            count(*args, **kwargs)
        except OSError as error:
            log.warning("not counted", error=str(error))

    return counted


class PrometheusMeter(Meter):
    """Counts in metrics of `registry`; None: one of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._ready = Gauge(
            "nnlite_worker_ready",
            "1 while the worker takes work from the queue",
            ["queue"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._busy = Gauge(
            "nnlite_attempts_running",
            "Attempts that run in the worker",
            ["kind"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._attempts = Counter(
            "nnlite_attempts",
            "Attempts that ended, by outcome, and by failure class where they failed",
            ["kind", "outcome", "failure_class"],
            registry=registry,
        )
        self._stages = Histogram(
            "nnlite_stage_seconds",
            "Time that attempts with a result spent in each stage; quiet: waited for other work",
            ["kind", "stage"],
            registry=registry,
            buckets=STAGE_BUCKETS_S,
        )
        self._memory = Histogram(
            "nnlite_attempt_peak_memory_bytes",
            "Peak resident memory of the process that converts or measures",
            ["kind"],
            registry=registry,
            buckets=MEMORY_BUCKETS_BYTES,
        )
        self._heartbeats_lost = Counter(
            "nnlite_heartbeats_lost",
            "Leases that could not be renewed in time because Postgres did not answer",
            ["kind"],
            registry=registry,
        )

    @_harmless
    def ready(self, kind: WorkKind, queue: str) -> None:
        self._ready.labels(queue).set(1)
        for outcome in _OUTCOMES:
            self._attempts.labels(kind, outcome, "")
        for failure_class in _CLASSES:
            self._attempts.labels(kind, FAILED, failure_class)
        self._busy.labels(kind)
        self._heartbeats_lost.labels(kind)

    @_harmless
    def unready(self, queue: str) -> None:
        self._ready.labels(queue).set(0)

    @contextmanager
    def busy(self, kind: WorkKind) -> Iterator[None]:
        self._running(kind, 1)
        try:
            yield
        finally:
            self._running(kind, -1)

    @_harmless
    def _running(self, kind: WorkKind, more: int) -> None:
        self._busy.labels(kind).inc(more)

    @_harmless
    def ended(
        self,
        kind: WorkKind,
        outcome: str,
        failure_class: FailureClass | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        details = details or {}
        self._attempts.labels(kind, outcome, failure_class or "").inc()
        if peak_kb := details.get("peak_rss_kb"):
            self._memory.labels(kind).observe(peak_kb * 1024)
        if outcome == WorkState.DONE:
            for stage, duration_ns in details.get("timings_ns", {}).items():
                self._stages.labels(kind, stage).observe(duration_ns / 1e9)

    @_harmless
    def heartbeat_lost(self, kind: WorkKind) -> None:
        self._heartbeats_lost.labels(kind).inc()
