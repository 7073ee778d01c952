"""The reaper: requeues rows whose lease has expired, and resends messages that Redis lost."""

import uuid

import pytest
from redis import Redis

from integration.conftest import Cluster
from nnlite.queue.messages import BrokerClient
from nnlite.reaper.reaper import Reaper


@pytest.fixture
def reaper(cluster: Cluster) -> Reaper:
    return Reaper(cluster.engine, cluster.broker, cluster.settings)


@pytest.fixture
def row(cluster: Cluster) -> uuid.UUID:
    return cluster.conversion(cluster.submit("one").id)["id"]


def state(cluster: Cluster) -> str:
    (row,) = cluster.rows("SELECT state FROM conversion")
    return row["state"]


def test_an_expired_lease_is_a_loss_and_its_message_is_sent(
    cluster: Cluster, reaper: Reaper, row: uuid.UUID
) -> None:
    cluster.claim(row)
    cluster.end_lease(row)
    cluster.empty_broker()
    for now_s in range(0, 50, 10):
        reaper.round(now_s)
    assert state(cluster) == "queued"
    assert cluster.ready() == 1
    assert cluster.attempts(row)[0]["outcome"] == "lost"


def test_nothing_expires_within_one_lease_of_its_start(
    cluster: Cluster, reaper: Reaper, row: uuid.UUID
) -> None:
    cluster.claim(row)
    cluster.end_lease(row)
    for now_s in (0, 10, 20):
        reaper.round(now_s)
    assert state(cluster) == "running"


def test_nothing_expires_after_a_gap_until_owners_had_a_lease_of_time(
    cluster: Cluster, reaper: Reaper, row: uuid.UUID
) -> None:
    for now_s in (0, 10, 20, 30, 40):
        reaper.round(now_s)
    cluster.claim(row)
    cluster.end_lease(row)
    reaper.round(1000)
    assert state(cluster) == "running"
    for now_s in (1010, 1020, 1030):
        reaper.round(now_s)
    assert state(cluster) == "queued"


def test_one_of_several_reapers_is_active_and_another_replaces_it(cluster: Cluster, reaper: Reaper) -> None:
    second = Reaper(cluster.engine, cluster.broker, cluster.settings)
    assert reaper.round(0)
    assert not second.round(0)
    reaper.close()
    assert second.round(1)
    second.close()


def test_lost_messages_are_sent_again_most_urgent_first(cluster: Cluster, reaper: Reaper) -> None:
    cluster.submit("later", priority=1)
    cluster.submit("sooner", priority=9)
    cluster.empty_broker()
    reaper.round(0)
    assert cluster.ready() == 0, "messages that were sent just now are given their time"
    cluster.change("UPDATE conversion SET sent_at = now() - interval '1 min'")
    reaper.round(10)
    assert cluster.ready() == 2
    reaper.round(20)
    assert cluster.ready() == 2


def test_while_a_queue_has_messages_nothing_is_sent_again(cluster: Cluster, reaper: Reaper) -> None:
    cluster.submit("one", "two")
    cluster.change("UPDATE conversion SET sent_at = now() - interval '1 min'")
    reaper.round(0)
    assert cluster.ready() == 2


def test_paused_work_is_not_sent_again(cluster: Cluster, reaper: Reaper, row: uuid.UUID) -> None:
    cluster.empty_broker()
    cluster.change("UPDATE conversion SET sent_at = now() - interval '1 min'")
    cluster.change("UPDATE campaign SET state = 'paused'")
    reaper.round(0)
    assert cluster.ready() == 0


def test_without_redis_leases_still_expire(cluster: Cluster, row: uuid.UUID) -> None:
    reaper = Reaper(cluster.engine, BrokerClient("redis://127.0.0.1:1/0", 0.2), cluster.settings)
    cluster.claim(row)
    cluster.end_lease(row)
    for now_s in (0, 10, 20, 30):
        reaper.round(now_s)
    assert state(cluster) == "queued"
    reaper.close()


def test_ten_losses_end_in_quarantine(cluster: Cluster, reaper: Reaper, row: uuid.UUID) -> None:
    for now_s in (0, 10, 20, 30):
        reaper.round(now_s)
    for loss in range(10):
        assert cluster.claim(row).counters.losses == loss
        cluster.end_lease(row)
        reaper.round(30 + loss)
    assert state(cluster) == "quarantined"
    assert len(cluster.attempts(row)) == 10


@pytest.fixture(autouse=True)
def _close(reaper: Reaper) -> object:
    yield
    reaper.close()


def test_the_test_broker_refuses_writes_when_full_as_in_production(cluster: Cluster, broker_url: str) -> None:
    assert Redis.from_url(broker_url).config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
