"""Leases: a row has one owner at a time, and only its owner can write."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from integration.conftest import Cluster, dead_owner, living_owner
from nnlite.campaigns import control
from nnlite.errors import Failure, FailureClass
from nnlite.queue import leases
from nnlite.queue.leases import BusyError, LeaseLostError
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import Stage, WorkKind
from waiting import HANG_S

CONVERSION = WorkKind.CONVERSION


@pytest.fixture
def row(cluster: Cluster) -> uuid.UUID:
    return cluster.conversion(cluster.submit("one").id)["id"]


def test_a_row_is_claimed_once(cluster: Cluster, row: uuid.UUID) -> None:
    claim = cluster.claim(row)
    assert claim is not None
    assert claim.attempt == 1
    assert cluster.claim(row) is None
    (attempt,) = cluster.attempts(row)
    assert (attempt["number"], attempt["owner_node"], attempt["outcome"]) == (1, "convert@here", None)


def test_rows_of_a_paused_campaign_are_not_claimed_until_it_resumes(cluster: Cluster, row: uuid.UUID) -> None:
    control.pause(cluster.engine, "campaign-0")
    assert cluster.claim(row) is None
    control.resume(cluster.engine, cluster.broker, "campaign-0")
    assert cluster.claim(row) is not None


def test_a_pausing_row_is_not_claimed(cluster: Cluster, row: uuid.UUID) -> None:
    cluster.change("UPDATE conversion SET available_at = now() + interval '1 h'")
    assert cluster.claim(row) is None


def test_a_heartbeat_renews_the_lease_but_never_past_the_deadline(cluster: Cluster, row: uuid.UUID) -> None:
    claim = cluster.claim(row, lease_s=HANG_S, deadline_s=3 * HANG_S)
    leases.heartbeat(cluster.engine, claim, 2 * HANG_S, Stage.EXPORT)
    (renewed,) = cluster.rows("SELECT lease_until - now() AS left, stage FROM conversion")
    assert timedelta(seconds=HANG_S) < renewed["left"] <= timedelta(seconds=2 * HANG_S)
    assert renewed["stage"] == "export"
    leases.heartbeat(cluster.engine, claim, 4 * HANG_S)
    (capped,) = cluster.rows("SELECT lease_until = deadline AS at_deadline, stage FROM conversion")
    assert capped == {"at_deadline": True, "stage": "export"}


def test_a_write_with_a_stale_token_is_rolled_back(cluster: Cluster, row: uuid.UUID) -> None:
    late = cluster.claim(row)
    cluster.end_lease(row)
    leases.requeue_expired(cluster.engine, CONVERSION, QueueSettings())
    with pytest.raises(LeaseLostError):
        leases.heartbeat(cluster.engine, late, 30)
    with pytest.raises(LeaseLostError):
        leases.finish(cluster.engine, late, lambda connection: _mark(connection, "late"))
    successor = cluster.claim(row)
    assert successor.attempt == 2
    with pytest.raises(LeaseLostError):
        leases.fail(
            cluster.engine,
            late,
            Failure(FailureClass.MODEL, Stage.EXPORT, "too late to say"),
            QueueSettings(),
        )
    leases.finish(cluster.engine, successor, lambda connection: _mark(connection, "in time"))
    assert cluster.rows("SELECT text FROM code WHERE sha256 = 'mark'") == [{"text": "in time"}]
    assert [attempt["outcome"] for attempt in cluster.attempts(row)] == ["lost", "done"]


def test_a_result_that_fails_to_be_stored_leaves_the_row_running(cluster: Cluster, row: uuid.UUID) -> None:
    claim = cluster.claim(row)

    def disk_full(connection: object) -> list:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        leases.finish(cluster.engine, claim, disk_full)
    assert cluster.rows("SELECT state FROM conversion") == [{"state": "running"}]
    leases.heartbeat(cluster.engine, claim, 30)


def test_a_redelivered_message_requeues_the_row_of_a_dead_process(cluster: Cluster, row: uuid.UUID) -> None:
    cluster.claim(row, dead_owner())
    assert leases.requeue_of_dead_owner(cluster.engine, CONVERSION, row, QueueSettings())
    assert cluster.claim(row).counters.losses == 1


def test_a_redelivered_message_leaves_the_row_of_a_live_process(cluster: Cluster, row: uuid.UUID) -> None:
    cluster.claim(row, living_owner())
    assert leases.requeue_of_dead_owner(cluster.engine, CONVERSION, row, QueueSettings()) == []
    assert cluster.rows("SELECT state FROM conversion") == [{"state": "running"}]


def test_a_starting_worker_requeues_the_rows_of_its_predecessor(cluster: Cluster, row: uuid.UUID) -> None:
    other = cluster.conversion(cluster.submit("two").id)["id"]
    cluster.claim(row, dead_owner("convert@here"))
    cluster.claim(other, dead_owner("convert-2@here"))
    messages = leases.requeue_of_node(
        cluster.engine, CONVERSION, living_owner("convert@here"), QueueSettings()
    )
    assert [message.row_id for message in messages] == [row]
    assert cluster.rows("SELECT state FROM conversion WHERE id = :id", id=other) == [{"state": "running"}]


def test_a_live_process_of_the_same_name_keeps_its_rows(cluster: Cluster, row: uuid.UUID) -> None:
    cluster.claim(row, living_owner("convert@here"))
    assert (
        leases.requeue_of_node(cluster.engine, CONVERSION, living_owner("convert@here"), QueueSettings())
        == []
    )


@pytest.mark.parametrize(
    ("elsewhere", "lease_ended", "given_back"),
    [
        ({"pid_namespace": 1}, False, True),  # an earlier life of this container
        ({"boot": "another"}, False, False),  # may be a namesake on another machine
        ({"boot": "another"}, True, True),  # this machine was started again, or nobody renews it
    ],
)
def test_rows_of_an_unseen_process_of_the_same_name_are_requeued_once_that_is_safe(
    cluster: Cluster, row: uuid.UUID, elsewhere: dict, lease_ended: bool, given_back: bool
) -> None:
    me = living_owner("convert@here")
    cluster.claim(row, replace(me, instance=replace(me.instance, **elsewhere)))
    if lease_ended:
        cluster.end_lease(row)
    messages = leases.requeue_of_node(cluster.engine, CONVERSION, me, QueueSettings())
    assert [message.row_id for message in messages] == ([row] if given_back else [])


def test_three_crashes_of_the_converter_end_in_quarantine_with_their_history(
    cluster: Cluster, row: uuid.UUID
) -> None:
    crash = Failure(FailureClass.CONVERTER, Stage.LOWER, "ended by SIGABRT", {"signal": 6})
    for _ in range(3):
        leases.fail(cluster.engine, cluster.claim(row), crash, QueueSettings())
    assert cluster.claim(row) is None
    (resting,) = cluster.rows("SELECT state, strikes, failure_class, stage, reason FROM conversion")
    assert resting == {
        "state": "quarantined",
        "strikes": 3,
        "failure_class": "converter",
        "stage": "lower",
        "reason": "ended by SIGABRT",
    }
    assert [attempt["details"] for attempt in cluster.attempts(row)] == [{"signal": 6}] * 3


def test_a_released_row_is_queued_again_and_counts_nothing(cluster: Cluster, row: uuid.UUID) -> None:
    released = Failure(FailureClass.RELEASED, Stage.EXPORT, "the worker stopped gracefully")
    for _ in range(20):
        leases.fail(cluster.engine, cluster.claim(row), released, QueueSettings())
    claim = cluster.claim(row)
    assert (claim.attempt, claim.counters.strikes, claim.counters.losses) == (21, 0, 0)


def test_one_identity_is_converted_by_one_worker_at_a_time(cluster: Cluster) -> None:
    first = cluster.conversion(cluster.submit("twin", name="a").id)["id"]
    second = cluster.conversion(cluster.submit("twin", name="b").id)["id"]
    claim = cluster.claim(first)
    with pytest.raises(BusyError):
        cluster.claim(second)
    assert cluster.attempts(second) == []
    leases.finish(cluster.engine, claim, lambda connection: [])
    assert cluster.claim(second) is not None


def test_a_cancelled_row_has_no_owner(cluster: Cluster, row: uuid.UUID) -> None:
    claim = cluster.claim(row)
    assert control.cancel(cluster.engine, "campaign-0") == 1
    with pytest.raises(LeaseLostError):
        leases.heartbeat(cluster.engine, claim, 30)
    assert [attempt["outcome"] for attempt in cluster.attempts(row)] == ["cancelled"]


def _mark(connection: object, value: str) -> list:
    connection.execute(text("INSERT INTO code VALUES ('mark', :value)"), {"value": value})
    return []
