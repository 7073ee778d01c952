"""Metrics of the reaper, queried in a real cluster."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from integration.canned import CONTEXT, finish_benchmark, finish_conversion, record_lab_phone
from integration.conftest import Cluster
from nnlite.campaigns.control import cancel
from nnlite.db.engine import engine_for
from nnlite.errors import Failure, FailureClass
from nnlite.queue import leases
from nnlite.queue.messages import BrokerClient
from nnlite.reaper.attempt_metrics import AttemptTotals
from nnlite.reaper.cluster_metrics import ClusterCollector, ReaperCollector
from nnlite.reaper.reaper import Reaper
from nnlite.results.devices import open_incident
from nnlite.vocabulary import DeviceStatus, Fault, Stage, WorkState
from unit.reaper.scraping import free_port, scrape
from waiting import HANG_S

NOWHERE = engine_for("postgresql://nobody@127.0.0.1:1/none", 1)


@pytest.fixture
def seen(cluster: Cluster) -> CollectorRegistry:
    """The metrics of the cluster."""
    registry = CollectorRegistry()
    registry.register(ClusterCollector(cluster.engine, cluster.broker, 5))
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"nnlite_{name}", labels)


def test_an_empty_cluster_has_zeros(seen):
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


def test_rows_of_a_paused_campaign_do_not_wait(cluster, seen):
    cluster.submit("one", name="night")
    cluster.change("UPDATE campaign SET state = 'paused'")
    assert value(seen, "work_waiting", queue="convert") == 0
    assert value(seen, "rows", kind="conversion", state="queued") == 1


def test_a_device_has_one_state_and_its_incident_is_open_until_it_is_healed(cluster, seen):
    identifier = record_lab_phone(cluster, DeviceStatus.FAULTY, "benchmark@here")
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


def test_a_scrape_succeeds_without_postgres(cluster):
    registry = CollectorRegistry()
    registry.register(ClusterCollector(NOWHERE, cluster.broker, 1))
    assert (value(registry, "postgres_up"), value(registry, "redis_up")) == (0, 1)
    assert value(registry, "queue_messages", queue="convert") == 0
    assert value(registry, "rows", kind="conversion", state="queued") is None, "nobody knows"


def test_a_scrape_succeeds_without_redis(cluster):
    registry = CollectorRegistry()
    registry.register(ClusterCollector(cluster.engine, BrokerClient("redis://127.0.0.1:1/0", 0.2), 5))
    assert (value(registry, "postgres_up"), value(registry, "redis_up")) == (1, 0)
    assert value(registry, "rows", kind="conversion", state="queued") == 0


def test_a_statement_that_takes_too_long_is_cancelled(cluster):
    registry = CollectorRegistry()
    registry.register(ClusterCollector(cluster.engine, cluster.broker, 0.2))
    with cluster.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE incident IN ACCESS EXCLUSIVE MODE")
        assert value(registry, "postgres_up") == 0
    assert value(registry, "postgres_up") == 1


def test_a_reaper_counts_the_messages_that_it_sent_again(cluster):
    reaper = Reaper(cluster.engine, cluster.broker, cluster.settings)
    registry = CollectorRegistry()
    registry.register(ReaperCollector(reaper))
    assert value(registry, "reaper_active") == 0
    cluster.submit("one")
    reaper.round(0)
    assert value(registry, "reaper_active") == 1
    cluster.empty_broker()
    cluster.change("UPDATE conversion SET sent_at = now() - interval '1 hour'")
    reaper.round(10)
    assert value(registry, "messages_resent_total", kind="conversion") == 1
    reaper.close()
    assert value(registry, "reaper_active") == 0


def attempts(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Ended conversions by outcome and failure class, those without any left out."""
    return {
        (sample.labels["outcome"], sample.labels["failure_class"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "nnlite_attempts_total" and sample.labels["kind"] == "conversion" and sample.value
    }


@pytest.fixture
def claimed(cluster: Cluster) -> leases.Claim:
    return cluster.claim(cluster.conversion(cluster.submit("one").id)["id"])


def finish(cluster: Cluster, claim: leases.Claim, **details: Any) -> None:
    leases.finish(cluster.engine, claim, lambda _: [], details=details)


def fail(cluster: Cluster, claim: leases.Claim, failure_class: FailureClass, **details: Any) -> None:
    failure = Failure(failure_class, Stage.LOWER, "killed", details)
    leases.fail(cluster.engine, claim, failure, cluster.settings.queue)


def test_every_outcome_is_a_series_from_the_start(seen):
    assert value(seen, "attempts_total", kind="conversion", outcome="done", failure_class="") == 0
    assert value(seen, "attempts_total", kind="benchmark", outcome="failed", failure_class="device") == 0
    assert value(seen, "attempts_total", kind="benchmark", outcome="lost", failure_class="") == 0


@pytest.mark.parametrize(
    ("failure_class", "series"),
    [
        (FailureClass.CONVERTER, ("failed", "converter")),
        (FailureClass.RELEASED, ("released", "")),
        (FailureClass.LOST, ("lost", "")),
    ],
)
def test_an_attempt_without_a_result_counts_by_its_failure_class(
    cluster, seen, claimed, failure_class, series
):
    assert attempts(seen) == {}, "it runs"
    fail(cluster, claimed, failure_class)
    assert attempts(seen) == {series: 1}


def test_a_cancelled_attempt_counts_as_such(cluster, seen):
    cluster.claim(cluster.conversion(cluster.submit("one", name="night").id)["id"])
    cancel(cluster.engine, "night")
    assert attempts(seen) == {("cancelled", ""): 1}


def test_a_skipped_model_counts_as_such(cluster, seen, claimed):
    leases.finish(cluster.engine, claimed, lambda _: [], state=WorkState.SKIPPED, reason="large")
    assert attempts(seen) == {("skipped", ""): 1}


def test_a_result_counts_for_its_stages_and_its_memory(cluster, seen, claimed):
    finish(cluster, claimed, timings_ns={"lower": 3_000_000_000, "quiet": 10}, peak_rss_kb=100 << 10)
    lower, memory = {"kind": "conversion", "stage": "lower"}, {"kind": "conversion"}
    assert attempts(seen) == {("done", ""): 1}
    assert value(seen, "stage_seconds_sum", **lower) == 3
    assert value(seen, "stage_seconds_bucket", **lower, le="2.0") == 0
    assert value(seen, "stage_seconds_bucket", **lower, le="4.0") == 1
    assert value(seen, "stage_seconds_bucket", **lower, le="+Inf") == 1
    assert value(seen, "attempt_peak_memory_bytes_sum", **memory) == 100 << 20
    assert value(seen, "attempt_peak_memory_bytes_bucket", **memory, le="6.7108864e+07") == 0
    assert value(seen, "attempt_peak_memory_bytes_count", **memory) == 1


def test_a_failure_counts_for_its_memory_but_not_for_its_stages(cluster, seen, claimed):
    fail(cluster, claimed, FailureClass.CONVERTER, timings_ns={"lower": 6 * 10**11}, peak_rss_kb=5)
    assert value(seen, "stage_seconds_count", kind="conversion", stage="lower") is None
    assert value(seen, "attempt_peak_memory_bytes_count", kind="conversion") == 1


class AttemptCollector(Collector):
    """Attempts alone; all that have ended are settled at once."""

    def __init__(self, cluster: Cluster, batch: int = 100) -> None:
        self._cluster, self._totals = cluster, AttemptTotals(settle_s=0, batch=batch)

    def collect(self) -> list[Metric]:
        with self._cluster.engine.begin() as connection:
            return self._totals.collect(connection)


def test_counters_do_not_decrease_when_rows_are_deleted(cluster):
    settled = CollectorRegistry()
    settled.register(AttemptCollector(cluster))
    first, second = (
        cluster.claim(cluster.conversion(cluster.submit(name).id)["id"]) for name in ("one", "two")
    )
    finish(cluster, first, timings_ns={"load": 5 * 10**8})
    for _ in range(2):
        assert attempts(settled) == {("done", ""): 1}
    cluster.change("DELETE FROM campaign WHERE id = :id", id=first.campaign_id)
    finish(cluster, second, timings_ns={"load": 5 * 10**8})
    assert attempts(settled) == {("done", ""): 2}
    assert value(settled, "stage_seconds_sum", kind="conversion", stage="load") == 1


def test_a_large_table_is_read_over_several_scrapes_and_shown_when_all_is_read(cluster):
    for name in ("one", "two", "three"):
        finish(cluster, cluster.claim(cluster.conversion(cluster.submit(name).id)["id"]))
    registry = CollectorRegistry()
    registry.register(AttemptCollector(cluster, batch=2))
    assert attempts(registry) == {}
    assert attempts(registry) == {("done", ""): 3}


def test_attempts_of_the_last_minute_may_become_visible_late(cluster, seen, claimed):
    assert attempts(seen) == {}
    finish(cluster, claimed)
    cluster.change("UPDATE attempt SET ended_at = ended_at - interval '50 s'")
    assert attempts(seen) == {("done", ""): 1}


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


def test_the_reaper_program_answers_scrapes_and_stops_on_sigterm(cluster, reaper, port):
    cluster.submit("one")
    samples = scrape(port)
    assert samples["nnlite_postgres_up"] == samples['nnlite_work_waiting{queue="convert"}'] == 1
    assert samples['nnlite_messages_resent_total{kind="conversion"}'] == 0
    assert any(name.startswith("nnlite_build_info{version=") for name in samples)
    reaper.send_signal(signal.SIGTERM)
    assert reaper.wait(HANG_S) == 0
