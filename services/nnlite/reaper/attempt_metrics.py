"""Metrics of ended attempts, read from the `attempt` table: outcomes, seconds by stage, peak memory.

Only attempts of campaigns count: runtime checks, which belong to none, would hide that they make no progress.

A scrape reads only what has ended since the last one: the totals of older attempts
are kept in this process. So its counters never decrease, even when rows are deleted.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString
from sqlalchemy import Connection, Row, text

from nnlite.errors import FailureClass
from nnlite.vocabulary import CAMPAIGN_KINDS, WorkState

#: From one run of the canary to the absolute limit of a conversion, seconds.
STAGE_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600, 1800)
MEMORY_BUCKETS_BYTES: Final = tuple(mib << 20 for mib in (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384))

_FAILED: Final = "failed"
#: Outcomes that say nothing against the work, the worker or the device.
_NOT_FAILED: Final = (
    WorkState.DONE, WorkState.SKIPPED, WorkState.CANCELLED, FailureClass.RELEASED, FailureClass.LOST,
)  # fmt: skip
_FAILURE_CLASSES: Final = tuple(set(FailureClass) - set(_NOT_FAILED))


@dataclass
class _Series:
    """Observations with the same labels."""

    #: By index of the bucket; of a counter, all in one.
    counts: Counter[int] = field(default_factory=Counter)
    total: float = 0.0


#: By labels; of each metric of `_STATEMENT`.
_Totals = dict[str, defaultdict[tuple[str, ...], _Series]]


def attempt_families() -> tuple[CounterMetricFamily, HistogramMetricFamily, HistogramMetricFamily]:
    """Return the metrics without values: attempts, seconds by stage, peak memory."""
    return (
        CounterMetricFamily(
            "nnlite_attempts",
            "Attempts that ended, by outcome, and by failure class where they failed",
            labels=["kind", "outcome", "failure_class"],
        ),
        HistogramMetricFamily(
            "nnlite_stage_seconds",
            "Time that attempts with a result spent in each stage; quiet: waited for other work",
            labels=["kind", "stage"],
        ),
        HistogramMetricFamily(
            "nnlite_attempt_peak_memory_bytes",
            "Peak resident memory of the process that converts or measures",
            labels=["kind"],
        ),
    )


class AttemptTotals:
    """Totals over all attempts that have ended; safe to read from several threads.

    Args:
        settle_s: longest time from `ended_at`, which is when a transaction begins, to its commit.
        batch: most settled attempts that one call reads, so that a large table is read over several.
    """

    def __init__(self, settle_s: float = 60, batch: int = 20_000) -> None:
        self._bounds = {"settle": settle_s, "batch": batch}
        self._lock = threading.Lock()
        self._settled: _Totals = {name: defaultdict(_Series) for name in ("outcome", "stage", "memory")}
        self._settled_until: datetime | str = "-infinity"

    def collect(self, connection: Connection) -> list[Metric]:
        """Return the metrics as they are now, read on `connection`; none until all rows were read."""
        with self._lock:
            bounds = connection.execute(_BOUNDS, self._bounds | {"after": self._settled_until}).one()
            _add(self._settled, _ended(connection, self._settled_until, bounds.until))
            self._settled_until = bounds.until
            totals = deepcopy(self._settled)
        if bounds.until < bounds.settled:
            return []
        _add(totals, _ended(connection, bounds.until, "infinity"))
        return _metrics(totals)


def _ended(connection: Connection, after: datetime | str, until: datetime | str) -> Sequence[Row[Any]]:
    parameters = {"stage_buckets": list(STAGE_BUCKETS_S), "memory_buckets": list(MEMORY_BUCKETS_BYTES)}
    return connection.execute(_STATEMENT, parameters | {"after": after, "until": until}).all()


def _add(totals: _Totals, rows: Iterable[Row[Any]]) -> None:
    for row in rows:
        series = totals[row.metric][tuple(row.labels)]
        series.counts[row.bucket] += row.number
        series.total += row.total


def _metrics(totals: _Totals) -> list[Metric]:
    attempts, stages, memory = attempt_families()
    outcomes = {(kind, outcome) for kind in CAMPAIGN_KINDS for outcome in (*_NOT_FAILED, *_FAILURE_CLASSES)}
    for kind, outcome in sorted(outcomes | totals["outcome"].keys()):
        failed = outcome in _FAILURE_CLASSES
        attempts.add_metric(
            [kind, *((_FAILED, outcome) if failed else (outcome, ""))],
            totals["outcome"][kind, outcome].counts.total(),
        )
    for labels, series in totals["stage"].items():
        stages.add_metric(labels, _cumulative(series, STAGE_BUCKETS_S), series.total)
    for labels, series in totals["memory"].items():
        memory.add_metric(labels, _cumulative(series, MEMORY_BUCKETS_BYTES), series.total)
    return [attempts, stages, memory]


def _cumulative(series: _Series, bounds: Sequence[float]) -> list[tuple[str, int]]:
    """Return the buckets as Prometheus has them: each includes those before it, the last one has no bound."""
    counts = accumulate(series.counts[bucket] for bucket in range(len(bounds) + 1))
    return list(zip(map(floatToGoString, (*bounds, float("inf"))), counts, strict=True))


#: Not before `after`: the clock of Postgres may be set back.
_BOUNDS = text("""
SELECT settled, least(settled, last_of_batch) AS until
FROM (
    SELECT greatest(CAST(:after AS timestamptz), now() - make_interval(secs => :settle)) AS settled,
        (SELECT ended_at FROM attempt WHERE ended_at > :after
         ORDER BY ended_at OFFSET :batch - 1 LIMIT 1) AS last_of_batch
) AS bounds
""")

_STATEMENT = text("""
WITH ended AS MATERIALIZED (
    SELECT kind, outcome, details->'timings_ns' AS timings_ns,
        (details->>'peak_rss_kb')::float8 AS peak_rss_kb
    FROM attempt WHERE ended_at > :after AND ended_at <= :until AND campaign_id IS NOT NULL
), observed AS (
    SELECT 'outcome' AS metric, ARRAY[kind, outcome] AS labels, 0 AS bucket, 0::float8 AS value FROM ended
    UNION ALL
    SELECT 'stage', ARRAY[kind, stage], width_bucket(ns::float8 / 1e9, CAST(:stage_buckets AS float8[])),
        ns::float8 / 1e9
    FROM ended, jsonb_each_text(timings_ns) AS timing (stage, ns) WHERE outcome = 'done'
    UNION ALL
    SELECT 'memory', ARRAY[kind], width_bucket(peak_rss_kb * 1024, CAST(:memory_buckets AS float8[])),
        peak_rss_kb * 1024
    FROM ended WHERE peak_rss_kb > 0
)
SELECT metric, labels, bucket, count(*) AS number, sum(value) AS total FROM observed GROUP BY 1, 2, 3
""")
