"""`run_attempt` with real servers, from a message to the stored outcome; handlers are those of the tests.

More than 300 lines: every end of an attempt, for the same context and row.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from integration.conftest import Cluster, dead_owner, living_owner
from nnlite.campaigns import control
from nnlite.db.engine import engine_for
from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.local import Endpoints
from nnlite.queue import leases
from nnlite.queue.leases import Claim, LeaseLostError
from nnlite.queue.messages import BrokerClient, EndedAttempts, Message
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import Stage, WorkKind, WorkState
from nnlite.worker.attempt import (
    Handler,
    Outcome,
    PostgresUnreachableError,
    Result,
    WorkerContext,
    run_attempt,
)
from waiting import HANG_S, NEVER_S, wait_until

CONVERSION = WorkKind.CONVERSION
DEADLINE_S = NEVER_S
FOLLOWS = Message(
    kind=WorkKind.BENCHMARK,
    row_id=uuid.UUID(int=7),
    display_args=("one", "host"),
    queue="benchmark.host",
    priority=5,
)


@pytest.fixture
def context(cluster: Cluster) -> Iterator[WorkerContext]:
    """What a worker's process works with: connections of its own."""
    engine = engine_for(cluster.settings.database_url)
    broker = BrokerClient(cluster.settings.broker_url, HANG_S)
    yield WorkerContext(
        engine=engine,
        broker=broker,
        owner=living_owner(),
        settings=cluster.settings,
        stopping=lambda: False,
    )
    broker.close()
    engine.dispose()


@pytest.fixture
def row(cluster: Cluster) -> uuid.UUID:
    """A queued row whose message was just taken."""
    row = cluster.conversion(cluster.submit("one", name="night").id)["id"]
    cluster.empty_broker()
    return row


def mark(value: str = "done") -> Callable[[Connection], list[Message]]:
    """Write a row by which a test sees that a result was written."""

    def write(connection: Connection) -> list[Message]:
        connection.execute(text("INSERT INTO code VALUES ('mark', :value)"), {"value": value})
        return []

    return write


def marks(cluster: Cluster) -> list[str]:
    return [row["text"] for row in cluster.rows("SELECT text FROM code WHERE sha256 = 'mark'")]


def raising(error: Exception) -> Handler:
    def handler(claim: Claim) -> Result:
        raise error

    return handler


def never(claim: Claim) -> Result:
    raise AssertionError("this row was not to be had")


def state(cluster: Cluster) -> str:
    (row,) = cluster.rows("SELECT state FROM conversion")
    return row["state"]


def outcomes(cluster: Cluster, row: uuid.UUID) -> list[str | None]:
    return [attempt["outcome"] for attempt in cluster.attempts(row)]


def test_a_result_is_stored_with_its_outcome_and_its_messages_are_sent(cluster, context, row):
    def write(connection: Connection) -> list[Message]:
        assert cluster.ready("benchmark.host") == 0, "nothing is sent before the commit"
        return [*mark()(connection), FOLLOWS]

    def handler(claim: Claim) -> Result:
        assert (claim.id, claim.attempt, state(cluster)) == (row, 1, "running")
        return Result(write=write, details={"peak_rss_kb": 7})

    assert run_attempt(context, CONVERSION, row, handler, DEADLINE_S) is Outcome.DONE
    assert (state(cluster), marks(cluster), cluster.ready("benchmark.host")) == ("done", ["done"], 1)
    (attempt,) = cluster.attempts(row)
    assert (attempt["outcome"], attempt["details"]) == ("done", {"peak_rss_kb": 7})


def test_a_skipped_model_is_stored_with_its_reason(cluster, context, row):
    result = Result(write=lambda connection: [], state=WorkState.SKIPPED, reason="2,000,000 parameters")
    assert run_attempt(context, CONVERSION, row, lambda claim: result, DEADLINE_S) is Outcome.DONE
    assert cluster.rows("SELECT state, reason FROM conversion") == [
        {"state": "skipped", "reason": "2,000,000 parameters"}
    ]
    assert outcomes(cluster, row) == ["skipped"]


@pytest.mark.parametrize(
    ("failure_class", "then"),
    [
        (FailureClass.MODEL, "failed"),
        (FailureClass.RUNTIME, "failed"),
        (FailureClass.CONVERTER, "queued"),
        (FailureClass.DEVICE, "queued"),
        (FailureClass.INFRASTRUCTURE, "queued"),
    ],
)
def test_a_failure_is_stored_with_its_class_and_a_queued_row_gets_a_message(
    cluster, context, row, failure_class, then
):
    failure = Failure(failure_class, Stage.LOWER, "because", {"signal": 6})
    assert run_attempt(context, CONVERSION, row, raising(failure), DEADLINE_S) is Outcome.FAILED
    (written,) = cluster.rows(
        "SELECT state, failure_class, stage, reason, owner_node, lease_until FROM conversion"
    )
    assert written == {
        "state": then,
        "failure_class": failure_class,
        "stage": "lower",
        "reason": "because",
        "owner_node": None,
        "lease_until": None,
    }
    (attempt,) = cluster.attempts(row)
    assert (attempt["outcome"], attempt["details"]) == (failure_class, {"signal": 6})
    assert cluster.ready() == (then == "queued")


def test_a_pausing_row_is_not_claimed_early(cluster, context, row):
    away = Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, "the store is full")
    run_attempt(context, CONVERSION, row, raising(away), DEADLINE_S)
    assert cluster.rows("SELECT available_at > now() AS later FROM conversion") == [{"later": True}]
    assert run_attempt(context, CONVERSION, row, never, DEADLINE_S) is Outcome.NOTHING


def test_a_third_strike_is_not_sent_again(cluster, context, row):
    crash = Failure(FailureClass.CONVERTER, Stage.LOWER, "killed by SIGABRT")
    for _ in range(3):
        cluster.empty_broker()
        run_attempt(context, CONVERSION, row, raising(crash), DEADLINE_S)
    assert (state(cluster), cluster.ready()) == ("quarantined", 0)
    assert outcomes(cluster, row) == ["converter"] * 3


def test_a_stopping_worker_releases_its_row_at_once(cluster, context, row):
    stopped = Stopped("the worker was asked to stop")
    assert run_attempt(context, CONVERSION, row, raising(stopped), DEADLINE_S) is Outcome.RELEASED
    assert (state(cluster), cluster.ready(), outcomes(cluster, row)) == ("queued", 1, ["released"])
    assert cluster.claim(row).counters.strikes == 0


def test_a_stopping_worker_claims_nothing(cluster, context, row):
    stopping = replace(context, stopping=lambda: True)
    assert run_attempt(stopping, CONVERSION, row, never, DEADLINE_S) is Outcome.NOTHING
    assert (state(cluster), cluster.attempts(row)) == ("queued", [])


def test_an_attempt_that_lost_its_lease_stores_nothing(cluster, context, row):
    lost = raising(LeaseLostError("cancelled"))
    assert run_attempt(context, CONVERSION, row, lost, DEADLINE_S) is Outcome.NOT_STORED
    assert (state(cluster), outcomes(cluster, row), cluster.ready()) == ("running", [None], 0)


def test_a_result_after_a_cancellation_is_not_stored(cluster, context, row):
    def handler(claim: Claim) -> Result:
        control.cancel(cluster.engine, "night")
        return Result(write=mark())

    assert run_attempt(context, CONVERSION, row, handler, DEADLINE_S) is Outcome.NOT_STORED
    assert (state(cluster), marks(cluster), outcomes(cluster, row)) == ("cancelled", [], ["cancelled"])


def test_a_failure_after_the_lease_expired_is_not_stored(cluster, context, row):
    def handler(claim: Claim) -> Result:
        cluster.end_lease(row)
        leases.requeue_expired(cluster.engine, CONVERSION, QueueSettings())
        assert cluster.claim(row).attempt == 2
        raise Failure(FailureClass.MODEL, Stage.EXPORT, "too late to say")

    assert run_attempt(context, CONVERSION, row, handler, DEADLINE_S) is Outcome.NOT_STORED
    assert (state(cluster), outcomes(cluster, row)) == ("running", ["lost", None])


@pytest.mark.parametrize("missing", [True, False])
def test_a_message_without_a_claimable_row_does_nothing(cluster, context, row, missing):
    if not missing:
        control.pause(cluster.engine, "night")
    asked = uuid.uuid4() if missing else row
    assert run_attempt(context, CONVERSION, asked, never, DEADLINE_S) is Outcome.NOTHING


def test_a_redelivered_message_requeues_the_row_of_a_dead_process(cluster, context, row):
    cluster.claim(row, dead_owner())
    assert (
        run_attempt(context, CONVERSION, row, lambda claim: Result(write=mark()), DEADLINE_S) is Outcome.DONE
    )
    assert outcomes(cluster, row) == ["lost", "done"]


def test_a_redelivered_message_leaves_the_row_of_a_live_process(cluster, context, row):
    cluster.claim(row)
    assert run_attempt(context, CONVERSION, row, never, DEADLINE_S) is Outcome.NOTHING


def test_a_model_that_another_worker_converts_waits(cluster, context, row):
    cluster.claim(row)
    twin = cluster.conversion(cluster.submit("one", name="day").id)["id"]
    assert run_attempt(context, CONVERSION, twin, never, DEADLINE_S) is Outcome.BUSY
    assert cluster.attempts(twin) == []


def test_without_postgres_nothing_is_claimed_and_the_message_is_retried(context, row):
    away = replace(context, engine=engine_for("postgresql://nobody@127.0.0.1:1/none", 1))
    with pytest.raises(PostgresUnreachableError, match=r"Postgres cannot be reached: .*refused"):
        run_attempt(away, CONVERSION, row, never, DEADLINE_S)


def test_an_outage_of_postgres_during_an_attempt_is_an_infrastructure_failure(cluster, context, row):
    def handler(claim: Claim) -> Result:
        with context.engine.begin() as connection:
            _hang_up(connection)
        raise AssertionError("the connection is gone")

    assert run_attempt(context, CONVERSION, row, handler, DEADLINE_S) is Outcome.FAILED
    assert outcomes(cluster, row) == ["infrastructure"]


def executing(statement: str) -> Callable[[Connection], list[Message]]:
    def write(connection: Connection) -> list[Message]:
        connection.execute(text(statement))
        return []

    return write


def test_data_that_postgres_refuses_are_a_failure_that_counts(cluster, context, row):
    def handler(claim: Claim) -> Result:
        with context.engine.begin() as connection:
            executing("SELECT 'x'::int")(connection)
        raise AssertionError("refused")

    assert run_attempt(context, CONVERSION, row, handler, DEADLINE_S) is Outcome.FAILED
    assert outcomes(cluster, row) == ["converter"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_statement_that_postgres_rejects_is_no_outage(cluster, context, row, stored):
    write = executing("SELECT column_of_another_version FROM attempt")

    def handler(claim: Claim) -> Result:
        if not stored:
            with context.engine.begin() as connection:
                write(connection)
        return Result(write=write)

    with pytest.raises(ProgrammingError, match="column_of_another_version"):
        run_attempt(context, CONVERSION, row, handler, DEADLINE_S)
    assert (state(cluster), outcomes(cluster, row)) == ("running", [None]), "until the lease expires"


def test_a_connection_lost_while_a_result_is_stored_is_retried(cluster, context, row):
    writes = []

    def write(connection: Connection) -> list[Message]:
        mark()(connection)
        writes.append(len(writes))
        if len(writes) == 1:
            _hang_up(connection)
        return []

    assert (
        run_attempt(context, CONVERSION, row, lambda claim: Result(write=write), DEADLINE_S) is Outcome.DONE
    )
    assert writes == [0, 1], "written again"
    assert (marks(cluster), outcomes(cluster, row)) == (["done"], ["done"])


@pytest.fixture
def postgres(embedded: Endpoints, cluster: Cluster) -> Callable[[bool], None]:
    """Let Postgres accept connections to the test's database, or end and refuse them."""
    name = cluster.engine.url.database

    def accept(accepting: bool) -> None:
        with closing(psycopg2.connect(embedded.database_url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {str(accepting).lower()}')
            if not accepting:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
                )
        cluster.engine.dispose()

    yield accept
    accept(True)


def test_a_result_waits_for_postgres_and_is_stored_once(cluster, context, row, postgres):
    looks = iter([False, False, True])  # before the claim; after the first write that fails; after the second

    def stopping() -> bool:
        if next(looks, False):
            postgres(True)
        return False

    def handler(claim: Claim) -> Result:
        postgres(False)
        return Result(write=mark())

    patient = replace(context, stopping=stopping)
    assert run_attempt(patient, CONVERSION, row, handler, DEADLINE_S) is Outcome.DONE
    assert (state(cluster), marks(cluster), outcomes(cluster, row)) == ("done", ["done"], ["done"])


def test_a_result_that_cannot_be_stored_before_its_deadline_is_dropped(cluster, context, row, postgres):
    def handler(claim: Claim) -> Result:
        postgres(False)
        return Result(write=mark())

    assert run_attempt(context, CONVERSION, row, handler, 0.5) is Outcome.NOT_STORED
    postgres(True)
    assert (state(cluster), marks(cluster)) == ("running", []), "the reaper gives it back"


def test_a_stopping_worker_does_not_wait_for_postgres(cluster, context, row, postgres):
    looks = iter([False, True])

    def handler(claim: Claim) -> Result:
        postgres(False)
        return Result(write=mark())

    stopping = replace(context, stopping=lambda: next(looks))
    assert run_attempt(stopping, CONVERSION, row, handler, DEADLINE_S) is Outcome.NOT_STORED


def test_who_waits_for_the_end_of_attempts_is_woken(cluster, context, row):
    with closing(EndedAttempts(cluster.broker)) as ended:
        assert not ended.wait(0.01), "nothing has ended; now it listens"
        wait_until(lambda: cluster.broker.redis.pubsub_numsub("nnlite.ends")[0][1] == 1, "it is subscribed")
        run_attempt(context, CONVERSION, row, lambda claim: Result(write=mark()), DEADLINE_S)
        assert ended.wait(HANG_S)
        assert not ended.wait(0.01), "each end wakes once"


def test_without_redis_the_wait_for_the_end_of_attempts_is_a_pause():
    with closing(EndedAttempts(BrokerClient("redis://127.0.0.1:1/0", 0.2))) as ended:
        assert [ended.wait(0.01), ended.wait(0.01)] == [False, False]


def test_without_redis_a_result_is_stored(cluster, context, row):
    result = Result(write=lambda connection: [*mark()(connection), FOLLOWS])
    alone = replace(context, broker=BrokerClient("redis://127.0.0.1:1/0", 0.2))
    assert run_attempt(alone, CONVERSION, row, lambda claim: result, DEADLINE_S) is Outcome.DONE
    assert (state(cluster), marks(cluster)) == ("done", ["done"])


@pytest.mark.parametrize(
    ("said", "kept"), [("nul \0 byte", "nul \ufffd byte"), ("half \ud800 pair", "half ? pair")]
)
def test_a_failure_with_any_text_is_stored(cluster, context, row, said, kept):
    details = {"said": said, said: [said], "range": float("nan"), "peak": float("inf"), "exit": None}
    failure = Failure(FailureClass.MODEL, Stage.LOAD, said, details)
    assert run_attempt(context, CONVERSION, row, raising(failure), DEADLINE_S) is Outcome.FAILED
    (attempt,) = cluster.attempts(row)
    assert attempt["reason"] == kept
    assert attempt["details"] == {"said": kept, kept: [kept], "range": None, "peak": None, "exit": None}
    assert state(cluster) == "failed"


@pytest.mark.parametrize("value", ["nul \0", "half \ud800"])
def test_a_result_that_postgres_cannot_store_is_a_strike_and_not_retried(cluster, context, row, value):
    result = Result(write=mark(value))
    assert run_attempt(context, CONVERSION, row, lambda claim: result, DEADLINE_S) is Outcome.FAILED
    (written,) = cluster.rows("SELECT state, strikes, stage, reason FROM conversion")
    assert (written["state"], written["strikes"], written["stage"]) == ("queued", 1, "store")
    assert written["reason"].startswith("the result cannot be stored: ")
    assert marks(cluster) == []


def test_a_result_that_violates_a_constraint_is_a_strike(cluster, context, row):
    def twice(connection: Connection) -> list[Message]:
        return [*mark()(connection), *mark()(connection)]

    assert (
        run_attempt(context, CONVERSION, row, lambda claim: Result(write=twice), DEADLINE_S) is Outcome.FAILED
    )
    assert (state(cluster), marks(cluster), outcomes(cluster, row)) == ("queued", [], ["converter"])


def test_an_unexpected_exception_propagates_and_the_lease_expires(cluster, context, row):
    with pytest.raises(ZeroDivisionError):
        run_attempt(context, CONVERSION, row, lambda claim: 1 / 0, DEADLINE_S)
    assert state(cluster) == "running"
    cluster.end_lease(row)
    assert leases.requeue_expired(cluster.engine, CONVERSION, QueueSettings())


def _hang_up(connection: Connection) -> None:
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
