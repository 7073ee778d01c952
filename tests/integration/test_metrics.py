"""What `reaper` tells Prometheus of a real cluster, and what attempts leave in a worker's meter."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from integration.canned import CONTEXT, finish_benchmark, finish_conversion
from integration.conftest import Cluster, living_owner
from nnlite.db.engine import engine_for
from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.metrics.prometheus_meter import PrometheusMeter
from nnlite.queue import leases
from nnlite.queue.leases import LeaseLostError
from nnlite.queue.messages import BrokerClient
from nnlite.reaper.cluster_metrics import ClusterCollector, ReaperCollector
from nnlite.reaper.reaper import Reaper
from nnlite.results.devices import open_incident, record_device
from nnlite.vocabulary import DeviceStatus, Fault, Stage, WorkKind, WorkState
from nnlite.worker.attempt import Result, WorkerContext, renew, work
from unit.metrics.scraping import free_port, scrape

NOWHERE = engine_for("postgresql://nobody@127.0.0.1:1/none", 1)


@pytest.fixture
def seen(cluster: Cluster) -> CollectorRegistry:
    """What Prometheus would see of the cluster."""
    registry = CollectorRegistry()
    registry.register(ClusterCollector(cluster.engine, cluster.broker, 5))
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"nnlite_{name}", labels)


def test_a_cluster_without_work_is_all_zeros(seen):
    assert value(seen, "postgres_up") == value(seen, "redis_up") == 1
    assert value(seen, "rows", kind="conversion", state="quarantined") == 0
    assert value(seen, "work_waiting", queue="convert") == value(seen, "queue_messages", queue="convert") == 0
    assert value(seen, "leases", queue="convert", state="expired") == 0
    assert value(seen, "models", state="finished") == value(seen, "models", state="open") == 0
    assert value(seen, "incidents_total", fault="app_hung") == 0


def test_rows_models_and_queues_are_counted_as_work_goes_on(cluster, seen):
    first, second = (
        cluster.conversion(cluster.submit(name, pools=("phones",)).id)["id"] for name in ("one", "two")
    )
    assert value(seen, "work_waiting", queue="convert") == value(seen, "queue_messages", queue="convert") == 2
    finish_conversion(cluster, first)
    assert value(seen, "rows", kind="conversion", state="done") == 1
    assert value(seen, "work_waiting", queue="benchmark.phones") == 1
    assert value(seen, "models", state="open") == 2, "one is yet to be measured"
    (benchmark,) = cluster.rows("SELECT id FROM benchmark")
    finish_benchmark(cluster, benchmark["id"])
    assert value(seen, "models", state="finished") == 1
    cluster.claim(second)
    assert value(seen, "work_waiting", queue="convert") == 0
    assert value(seen, "leases", queue="convert", state="held") == 1
    cluster.end_lease(second)
    assert value(seen, "leases", queue="convert", state="held") == 0
    assert value(seen, "leases", queue="convert", state="expired") == 1


def test_a_paused_campaign_waits_for_no_worker(cluster, seen):
    cluster.submit("one", name="night")
    cluster.change("UPDATE campaign SET state = 'paused'")
    assert value(seen, "work_waiting", queue="convert") == 0
    assert value(seen, "rows", kind="conversion", state="queued") == 1


def test_a_device_is_in_one_state_and_its_incident_is_open_until_it_is_healed(cluster, seen):
    identifier = record_device(cluster.engine, CONTEXT, DeviceStatus.FAULTY, "benchmark@here")
    open_incident(cluster.engine, identifier, Fault.APP_HUNG, "it hangs")
    device = {"device": CONTEXT.name, "kind": "phone", "pool": "phones"}
    states = {state: value(seen, "device_state", **device, state=state) for state in DeviceStatus}
    assert states.pop(DeviceStatus.FAULTY) == 1
    assert set(states.values()) == {0}
    assert value(seen, "device_state_since_timestamp_seconds", **device) > 1.7e9
    fault = {"device": CONTEXT.name, "pool": "phones", "fault": "app_hung"}
    assert value(seen, "incidents_open", **fault) == value(seen, "incidents_total", fault="app_hung") == 1
    cluster.change("UPDATE incident SET healed = true")
    assert value(seen, "incidents_open", **fault) is None
    assert value(seen, "incidents_total", fault="app_hung") == 1


def test_postgres_that_is_away_is_a_metric_and_no_failed_scrape(cluster):
    registry = CollectorRegistry()
    registry.register(ClusterCollector(NOWHERE, cluster.broker, 1))
    assert (value(registry, "postgres_up"), value(registry, "redis_up")) == (0, 1)
    assert value(registry, "queue_messages", queue="convert") == 0
    assert value(registry, "rows", kind="conversion", state="queued") is None, "nobody knows"


def test_redis_that_is_away_is_a_metric_and_no_failed_scrape(cluster):
    registry = CollectorRegistry()
    registry.register(ClusterCollector(cluster.engine, BrokerClient("redis://127.0.0.1:1/0", 0.2), 5))
    assert (value(registry, "postgres_up"), value(registry, "redis_up")) == (1, 0)
    assert value(registry, "rows", kind="conversion", state="queued") == 0


def test_a_statement_that_takes_too_long_is_given_up(cluster):
    registry = CollectorRegistry()
    registry.register(ClusterCollector(cluster.engine, cluster.broker, 0.2))
    with cluster.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE incident IN ACCESS EXCLUSIVE MODE")
        assert value(registry, "postgres_up") == 0
    assert value(registry, "postgres_up") == 1


def test_a_reaper_tells_what_it_gave_back_and_sent_again(cluster):
    reaper = Reaper(cluster.engine, cluster.broker, cluster.settings)
    registry = CollectorRegistry()
    registry.register(ReaperCollector(reaper))
    assert value(registry, "reaper_picked") == 0
    row = cluster.conversion(cluster.submit("one").id)["id"]
    cluster.claim(row)
    cluster.end_lease(row)
    for now_s in range(0, 50, 10):
        reaper.round(now_s)
    assert value(registry, "reaper_picked") == 1
    assert value(registry, "leases_expired_total", kind="conversion") == 1
    cluster.empty_broker()
    cluster.change("UPDATE conversion SET sent_at = now() - interval '1 hour'")
    reaper.round(50)
    assert value(registry, "messages_resent_total", kind="conversion") == 1
    reaper.close()
    assert value(registry, "reaper_picked") == 0


@pytest.fixture
def counted() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def context(cluster: Cluster, counted: CollectorRegistry) -> WorkerContext:
    """What a worker's process works with, metrics on."""
    return WorkerContext(
        engine=cluster.engine,
        broker=cluster.broker,
        owner=living_owner(),
        settings=cluster.settings,
        stopping=lambda: False,
        meter=PrometheusMeter(counted),
    )


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        (Result(write=lambda _: [], details={"peak_rss_kb": 7}), ("done", "")),
        (Result(write=lambda _: [], state=WorkState.SKIPPED, reason="large"), ("skipped", "")),
        (Failure(FailureClass.CONVERTER, Stage.LOWER, "killed"), ("failed", "converter")),
        (Stopped("told to stop"), ("released", "")),
        (LeaseLostError("cancelled"), ("lease_lost", "")),
    ],
    ids=["done", "left out", "failed", "released", "right lost"],
)
def test_every_end_of_an_attempt_is_counted_once(cluster, context, counted, end, ended):
    row = cluster.conversion(cluster.submit("one").id)["id"]

    def perform(claim: leases.Claim) -> Result:
        assert value(counted, "attempts_running", kind="conversion") == 1
        if isinstance(end, Result):
            return end
        raise end

    work(context, WorkKind.CONVERSION, row, perform, 60)
    ends = {
        (sample.labels["outcome"], sample.labels["failure_class"]): sample.value
        for metric in counted.collect()
        for sample in metric.samples
        if sample.name == "nnlite_attempts_total"
    }
    assert ends == {ended: 1}
    assert value(counted, "attempts_running", kind="conversion") == 0


def test_a_message_without_work_behind_it_is_no_attempt(context, counted):
    work(context, WorkKind.CONVERSION, uuid.uuid4(), lambda _: Result(write=lambda _: []), 60)
    assert not any(sample for metric in counted.collect() for sample in metric.samples)


def test_a_heartbeat_that_postgres_does_not_hear_is_counted(cluster, context, counted):
    claim = cluster.claim(cluster.conversion(cluster.submit("one").id)["id"])
    renew(context, claim, Stage.LOWER)
    assert value(counted, "heartbeats_lost_total", kind="conversion") is None
    renew(replace(context, engine=NOWHERE), claim, Stage.LOWER)
    assert value(counted, "heartbeats_lost_total", kind="conversion") == 1


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def reaper(cluster: Cluster, port: int, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`nnlite reaper` as a program of its own, ready."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")} | {
        "NNLITE_HOME": str(tmp_path),
        "NNLITE_DATABASE_URL": cluster.settings.database_url,
        "NNLITE_BROKER_URL": cluster.settings.broker_url,
        "NNLITE_METRICS__PORT": str(port),
    }
    program = [sys.executable, "-m", "nnlite.cli", "reaper"]
    with subprocess.Popen(program, env=environment, cwd=tmp_path, stderr=-1, text=True) as process:
        assert '"ready"' in process.stderr.readline()
        yield process
        process.kill()


def test_reaper_is_asked_over_http_and_stops_all_the_same(cluster, reaper, port):
    cluster.submit("one")
    samples = scrape(port)
    assert samples["nnlite_postgres_up"] == samples['nnlite_work_waiting{queue="convert"}'] == 1
    assert samples['nnlite_messages_resent_total{kind="conversion"}'] == 0
    reaper.send_signal(signal.SIGTERM)
    assert reaper.wait(20) == 0
