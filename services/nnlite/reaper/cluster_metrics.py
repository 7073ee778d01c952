"""Metrics of the cluster, queried in Postgres and Redis at each scrape, and of this reaper.

One transaction and one round trip per queue for each scrape, within a deadline. A
server that does not answer has a metric that says so; its other metrics are missing.
"""

from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from nnlite.db.engine import first_line
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.messages import BrokerClient, BrokerUnreachableError
from nnlite.reaper.attempt_metrics import AttemptTotals, attempt_families
from nnlite.reaper.reaper import Reaper
from nnlite.vocabulary import CAMPAIGN_KINDS, DeviceStatus, Fault, WorkState

log = structlog.get_logger()

Family = GaugeMetricFamily | CounterMetricFamily
#: Values by labels.
_Samples = dict[tuple[str, ...], float]

#: What `_STATEMENT` returns: its name there, then name, labels and help of the metric.
_QUERIED = {
    "rows": ("nnlite_rows", ("kind", "state"), "Conversions and benchmarks of all campaigns"),
    "waiting": ("nnlite_work_waiting", ("queue",), "Queued rows that a worker of the queue could take now"),
    "leases": ("nnlite_leases", ("queue", "state"), "Running rows; expired: no heartbeat came in time"),
    "models": ("nnlite_models", ("state",), "Models of all campaigns; finished: nothing is left to do"),
    "open": ("nnlite_incidents_open", ("device", "pool", "fault"), "1 for a device that is being healed"),
    "incidents": ("nnlite_incidents_total", ("fault",), "Incidents by the fault that began them"),
    "device": (
        "nnlite_device_state",
        ("device", "kind", "pool", "state"),
        "1 for the state it is in, else 0",
    ),
    "since": (
        "nnlite_device_state_since_timestamp_seconds",
        ("device", "kind", "pool"),
        "When the device came into its state, Unix time",
    ),
}
_POSTGRES_UP = "1 if Postgres answers"
_REDIS_UP = "1 if Redis answers"
_QUEUE_MESSAGES = "Messages that no worker has taken yet"


class ClusterCollector(Collector):
    """State of the cluster in Postgres and Redis.

    Args:
        engine: of Postgres; its timeouts bound those of a scrape.
    """

    def __init__(self, engine: Engine, broker: BrokerClient, timeout_s: float) -> None:
        self._engine = engine
        self._broker = broker
        self._timeout_ms = round(timeout_s * 1000)
        self._attempts = AttemptTotals()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        samples, attempts = self._query_postgres()
        yield _family("nnlite_postgres_up", (), _POSTGRES_UP, {(): samples is not None})
        if samples is not None:
            for key, (name, labels, help_text) in _QUERIED.items():
                yield _family(name, labels, help_text, samples[key])
        yield from attempts
        lengths = self._queue_lengths(
            [queue for (queue,) in samples["waiting"]] if samples else [CONVERT_QUEUE]
        )
        yield _family("nnlite_redis_up", (), _REDIS_UP, {(): lengths is not None})
        if lengths is not None:
            yield _family("nnlite_queue_messages", ("queue",), _QUEUE_MESSAGES, lengths)

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values."""
        described = [
            ("nnlite_postgres_up", (), _POSTGRES_UP),
            ("nnlite_redis_up", (), _REDIS_UP),
            ("nnlite_queue_messages", ("queue",), _QUEUE_MESSAGES),
            *_QUERIED.values(),
        ]
        return [*(_family(*metric, {}) for metric in described), *attempt_families()]

    def _query_postgres(self) -> tuple[dict[str, _Samples] | None, list[Metric]]:
        """Return the samples of `_QUERIED` and the metrics of attempts; None and none without an answer."""
        try:
            with self._engine.begin() as connection:
                connection.execute(text(f"SET LOCAL statement_timeout = {self._timeout_ms}"))
                return _query(connection), self._attempts.collect(connection)
        except DBAPIError as error:
            log.warning("no metrics from Postgres", error=first_line(error))
            return None, []

    def _queue_lengths(self, queues: Iterable[str]) -> _Samples | None:
        try:
            return {(queue,): self._broker.ready(queue) for queue in queues}
        except BrokerUnreachableError as error:
            log.warning("no metrics from Redis", error=str(error))
            return None


class ReaperCollector(Collector):
    """What the reaper of this process has done."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        reaper = self._reaper
        yield _family(
            "nnlite_build_info",
            ("version",),
            "1; the label is the reaper's version",
            {(version("nnlite"),): 1},
        )
        yield _family("nnlite_reaper_active", (), "1 for the active reaper", {(): reaper.active})
        yield _family(
            "nnlite_messages_resent_total",
            ("kind",),
            "Messages that Redis no longer had",
            {(kind,): reaper.resent[kind] for kind in CAMPAIGN_KINDS},
        )


def _family(name: str, labels: tuple[str, ...], help_text: str, samples: _Samples) -> Family:
    family_type = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = family_type(name, help_text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _query(connection: Connection) -> dict[str, _Samples]:
    """Return the samples of `_QUERIED`, with a 0 for labels without rows: a missing series is no 0."""
    samples: dict[str, _Samples] = defaultdict(dict)
    for key, labels, value in connection.execute(_STATEMENT):
        samples[key][tuple(labels)] = value
    queues = {CONVERT_QUEUE} | {benchmark_queue(pool) for _, _, pool, _ in samples["device"]}
    queues |= {queue for key in ("waiting", "leases") for queue, *_ in samples[key]}
    zeros: dict[str, Iterable[tuple[str, ...]]] = {
        "rows": [(kind, state) for kind in CAMPAIGN_KINDS for state in WorkState],
        "waiting": [(queue,) for queue in queues],
        "leases": [(queue, state) for queue in queues for state in ("held", "expired")],
        "incidents": [(fault,) for fault in Fault],
        "device": [(*device, state) for (*device, _) in samples["device"] for state in DeviceStatus],
    }
    for key, labels in zeros.items():
        samples[key] = dict.fromkeys(labels, 0.0) | samples[key]
    return samples


_STATEMENT = text("""
WITH conversions AS (
    SELECT state, count(*) AS n FROM conversion GROUP BY state
), benchmarks AS (
    SELECT state, count(*) AS n FROM benchmark GROUP BY state
), models AS (
    SELECT coalesce(sum(n), 0) AS every,
           coalesce(sum(n) FILTER (WHERE state IN ('queued', 'running')), 0)
           + (SELECT count(DISTINCT conversion_id) FROM benchmark
              WHERE state IN ('queued', 'running')) AS open
    FROM conversions
), queued AS (
    SELECT 'convert' AS queue, campaign_id, available_at FROM conversion WHERE state = 'queued'
    UNION ALL
    SELECT 'benchmark.' || pool, campaign_id, available_at FROM benchmark WHERE state = 'queued'
), running AS (
    SELECT 'convert' AS queue, lease_until FROM conversion WHERE state = 'running'
    UNION ALL
    SELECT 'benchmark.' || pool, lease_until FROM benchmark WHERE state = 'running'
)
SELECT 'rows' AS metric, ARRAY['conversion', state] AS labels, n::float8 AS value FROM conversions
UNION ALL SELECT 'rows', ARRAY['benchmark', state], n FROM benchmarks
UNION ALL SELECT 'models', ARRAY['finished'], every - open FROM models
UNION ALL SELECT 'models', ARRAY['open'], open FROM models
UNION ALL
SELECT 'waiting', ARRAY[queue], count(*) FILTER (WHERE c.state = 'active' AND q.available_at <= now())
FROM queued q JOIN campaign c ON c.id = q.campaign_id GROUP BY queue
UNION ALL SELECT 'leases', ARRAY[queue, 'held'], count(*) FILTER (WHERE lease_until >= now())
FROM running GROUP BY queue
UNION ALL SELECT 'leases', ARRAY[queue, 'expired'], count(*) FILTER (WHERE lease_until < now())
FROM running GROUP BY queue
UNION ALL SELECT 'incidents', ARRAY[fault], count(*) FROM incident GROUP BY fault
UNION ALL SELECT 'open', ARRAY[d.name, d.pool, i.fault], 1
FROM incident i JOIN device d ON d.id = i.device_id WHERE NOT i.healed
UNION ALL SELECT 'device', ARRAY[name, kind, pool, state], 1 FROM device
UNION ALL SELECT 'since', ARRAY[name, kind, pool], extract(epoch FROM state_since) FROM device
""")
