"""What a worker counts of its own work, in all of its processes.

`Meter` counts nothing: it is what a worker has whose metrics are off. Nothing
here may disturb the work that it counts.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from nnlite.errors import FailureClass
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind

#: Names the folder of a worker's counters; prometheus-client reads it when it is imported.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: How an attempt may end, besides in the states that a result gives its row.
FAILED, RELEASED, LEASE_LOST = "failed", "released", "lease_lost"


class Meter:
    """Counts nothing."""

    def ready(self, kind: WorkKind, queue: str) -> None:
        """The worker takes work from `queue`."""

    def unready(self, queue: str) -> None:
        """It takes none any more: it stops, or its device is at fault or rests."""

    @contextmanager
    def busy(self, _kind: WorkKind) -> Iterator[None]:
        """An attempt runs within this block."""
        yield

    def ended(
        self,
        kind: WorkKind,
        outcome: str,
        failure_class: FailureClass | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """An attempt has ended.

        Args:
            kind: of its work.
            outcome: the state that a result gave the row, or FAILED, RELEASED, LEASE_LOST.
            failure_class: of one that failed.
            details: what it says of itself; `timings_ns` per stage and `peak_rss_kb` are read.
        """

    def heartbeat_lost(self, kind: WorkKind) -> None:
        """A lease could not be renewed: Postgres did not answer."""


def meter_for(settings: Settings) -> Meter:
    """Return the meter of this process, the same in all that it forks."""
    return _prometheus_meter() if settings.metrics.port else Meter()


@cache
def _prometheus_meter() -> Meter:
    from nnlite.metrics.prometheus_meter import PrometheusMeter

    return PrometheusMeter()
