"""What `nnlite reaper` tells of the whole cluster: looked up in Postgres and Redis whenever it is asked.

One statement and one round trip per queue for each scrape, within a deadline.
A server that is away is a metric that says so; what only it knows is left out.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from nnlite.db.engine import engine_for
from nnlite.metrics.collectors import DiskCollector
from nnlite.metrics.http_server import http_server
from nnlite.metrics.serving import disks, listen
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.messages import BrokerClient, BrokerUnreachableError
from nnlite.reaper.reaper import Reaper
from nnlite.settings import Settings
from nnlite.vocabulary import DeviceStatus, Fault, WorkKind, WorkState

log = structlog.get_logger()

Family = GaugeMetricFamily | CounterMetricFamily
#: Values by labels.
_Samples = dict[tuple[str, ...], float]

#: What `_STATEMENT` answers: as it calls it, name, labels, help.
_ASKED = {
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


class ClusterCollector(Collector):
    """The cluster as Postgres and Redis have it.

    Args:
        engine: of Postgres; its waits bound those of a scrape.
        broker: of the broker.
        timeout_s: longest time for the statement.
    """

    def __init__(self, engine: Engine, broker: BrokerClient, timeout_s: float) -> None:
        self._engine = engine
        self._messenger = broker
        self._timeout_ms = round(timeout_s * 1000)

    def collect(self) -> Iterable[Family]:
        """Return the metrics as they are now."""
        found = self._asked()
        yield _family("nnlite_postgres_up", (), "1 if Postgres answers", {(): found is not None})
        if found is not None:
            for key, (name, labels, help_text) in _ASKED.items():
                yield _family(name, labels, help_text, found[key])
        lengths = self._lengths([queue for (queue,) in found["waiting"]] if found else [CONVERT_QUEUE])
        yield _family("nnlite_redis_up", (), "1 if Redis answers", {(): lengths is not None})
        if lengths is not None:
            yield _family(
                "nnlite_queue_messages", ("queue",), "Messages that no worker has taken yet", lengths
            )

    def describe(self) -> Iterable[Family]:
        """Return the metrics without values."""
        names = [("nnlite_postgres_up", ()), ("nnlite_redis_up", ()), ("nnlite_queue_messages", ("queue",))]
        names += [(name, labels) for name, labels, _ in _ASKED.values()]
        return [_family(name, labels, "", {}) for name, labels in names]

    def _asked(self) -> dict[str, _Samples] | None:
        """Return what Postgres says, with a 0 for whatever there is none of; None: it says nothing."""
        found: dict[str, _Samples] = defaultdict(dict)
        try:
            with self._engine.begin() as connection:
                connection.execute(text(f"SET LOCAL statement_timeout = {self._timeout_ms}"))
                for key, labels, value in connection.execute(_STATEMENT):
                    found[key][tuple(labels)] = value
        except DBAPIError as error:
            log.warning("no metrics from Postgres", error=str(error.orig).strip().partition("\n")[0])
            return None
        return _with_zeros(found)

    def _lengths(self, queues: Iterable[str]) -> _Samples | None:
        try:
            return {(queue,): self._messenger.ready(queue) for queue in queues}
        except BrokerUnreachableError as error:
            log.warning("no metrics from Redis", error=str(error))
            return None


class ReaperCollector(Collector):
    """What this process's own reaper did."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper

    def collect(self) -> Iterable[Family]:
        """Return the metrics as they are now."""
        reaper = self._reaper
        yield _family("nnlite_reaper_picked", (), "1 for the one that reaps", {(): reaper.picked})
        yield _family(
            "nnlite_leases_expired_total",
            ("kind",),
            "Attempts given up because no heartbeat came within their lease",
            {(kind,): reaper.expired[kind] for kind in WorkKind},
        )
        yield _family(
            "nnlite_messages_resent_total",
            ("kind",),
            "Messages that Redis no longer had",
            {(kind,): reaper.resent[kind] for kind in WorkKind},
        )


@contextmanager
def serving_cluster(
    settings: Settings, engine: Engine, broker: BrokerClient, reaper: Reaper
) -> Iterator[None]:
    """Serve the cluster's metrics in a thread while the block runs.

    Raises:
        MetricsError: the port cannot be had.
    """
    timeout_s = settings.metrics.timeout_s
    # Prometheus waits less long than the reaper does.
    engine = engine_for(engine.url.render_as_string(hide_password=False), timeout_s)
    registry = CollectorRegistry()
    registry.register(ClusterCollector(engine, broker, timeout_s))
    registry.register(ReaperCollector(reaper))
    registry.register(DiskCollector(disks(settings)))
    with listen(settings.metrics) as listener, http_server(listener, registry) as server:
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            engine.dispose()


def _family(name: str, labels: tuple[str, ...], help_text: str, samples: _Samples) -> Family:
    made = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = made(name, help_text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _with_zeros(found: dict[str, _Samples]) -> dict[str, _Samples]:
    """Return `found` with a 0 where there is none of something: what vanishes from a graph is no 0."""
    queues = {CONVERT_QUEUE} | {benchmark_queue(pool) for _, _, pool, _ in found["device"]}
    queues |= {queue for key in ("waiting", "leases") for queue, *_ in found[key]}
    zeros: dict[str, Iterable[tuple[str, ...]]] = {
        "rows": [(kind, state) for kind in WorkKind for state in WorkState],
        "waiting": [(queue,) for queue in queues],
        "leases": [(queue, state) for queue in queues for state in ("held", "expired")],
        "incidents": [(fault,) for fault in Fault],
        "device": [(*device, state) for (*device, _) in found["device"] for state in DeviceStatus],
    }
    for key, labels in zeros.items():
        found[key] = dict.fromkeys(labels, 0.0) | found[key]
    return found


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
