"""The right to work on a row: claim, heartbeat, and the fenced end of an attempt.

Every function is one short transaction on Postgres, whose `now()` is the only
clock. A write that names row, state and attempt and finds no row has lost its
right: `RightLostError`, and nothing was written.
"""

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from nnlite.failures import Counters, Decision, Failure, FailureClass, Limits, NnliteError, decide
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.messages import Message
from nnlite.queue.owner import Instance, Owner
from nnlite.results.database import autocommit
from nnlite.vocabulary import Stage, WorkKind, WorkState


class RightLostError(NnliteError):
    """The row is no longer this attempt's: expired, cancelled or claimed by another."""


class BusyError(NnliteError):
    """Another worker converts the same model for another campaign; its result will be in the cache."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One attempt's right to a row."""

    kind: WorkKind
    id: uuid.UUID
    campaign_id: uuid.UUID
    #: Number of the attempt: the fence.
    attempt: int
    counters: Counters


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended, as it is written."""

    #: `done`, `left_out` or a failure class.
    outcome: str
    decision: Decision
    stage: Stage | None = None
    reason: str | None = None
    details: Mapping[str, Any] | None = None


def claim(
    engine: Engine, kind: WorkKind, row: uuid.UUID, owner: Owner, *, lease_s: float, deadline_s: float
) -> Claim | None:
    """Take a queued row of an active campaign, or return None if it is not to be had.

    Raises:
        BusyError: the same identity is being converted under another row.
    """
    try:
        with autocommit(engine) as connection:
            found = (
                connection.execute(
                    _claim_statement(kind),
                    {
                        "id": row,
                        "node": owner.node,
                        "instance": str(owner.instance),
                        "lease": min(lease_s, deadline_s),
                        "deadline": deadline_s,
                    },
                )
                .mappings()
                .one_or_none()
            )
    except IntegrityError as error:
        raise BusyError(f"another worker converts the model of conversion {row}") from error
    return None if found is None else _claim_from(kind, found)


def heartbeat(engine: Engine, claim: Claim, lease_s: float, stage: Stage | None = None) -> None:
    """Renew the lease, never past the deadline, and say where the work stands.

    Raises:
        RightLostError: the row is no longer this attempt's; kill the work.
    """
    with autocommit(engine) as connection:
        renewed = connection.execute(
            _heartbeat_statement(claim.kind),
            {"id": claim.id, "attempt": claim.attempt, "lease": lease_s, "stage": stage},
        )
    if renewed.rowcount == 0:
        raise RightLostError(f"{claim.kind} {claim.id}, attempt {claim.attempt}")


def end(connection: Connection, claim: Claim, ending: Ending) -> None:
    """Write how the attempt ended, in the caller's transaction: state, counters and history.

    Raises:
        RightLostError: the caller's transaction must be rolled back.
    """
    decision = ending.decision
    ended = connection.execute(
        _end_statement(claim.kind),
        {
            "id": claim.id,
            "attempt": claim.attempt,
            "state": decision.state,
            "strikes": decision.strikes,
            "losses": decision.losses,
            "pause": decision.pause_s,
            "failure_class": None if ending.outcome == "done" else ending.outcome,
            "outcome": ending.outcome,
            "stage": ending.stage,
            "reason": _storable(ending.reason),
            "details": _storable(ending.details),
        },
    )
    if ended.rowcount == 0:
        raise RightLostError(f"{claim.kind} {claim.id}, attempt {claim.attempt}")


def finish(
    engine: Engine,
    claim: Claim,
    write: Callable[[Connection], list[Message]],
    *,
    state: WorkState = WorkState.DONE,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> list[Message]:
    """End the attempt with its result, all in one transaction, and return the messages to send after it.

    Args:
        write: writes the result's rows and returns the messages that follow from them.

    Raises:
        RightLostError: nothing was written.
    """
    kept = claim.counters
    decision = Decision(state=state, strikes=kept.strikes, losses=kept.losses)
    with engine.begin() as connection:
        end(connection, claim, Ending(outcome=state.value, decision=decision, reason=reason, details=details))
        return write(connection)


def fail(engine: Engine, claim: Claim, failure: Failure, limits: Limits) -> Decision:
    """End the attempt with `failure` and return what became of the row.

    Raises:
        RightLostError: nothing was written.
    """
    decision = decide(failure.failure_class, claim.counters, limits)
    ending = Ending(
        outcome=failure.failure_class,
        decision=decision,
        stage=failure.stage,
        reason=failure.reason,
        details=failure.details,
    )
    with engine.begin() as connection:
        end(connection, claim, ending)
    return decision


def give_back_lost(
    engine: Engine,
    kind: WorkKind,
    limits: Limits,
    reason: str,
    rows: Callable[[Connection], Sequence[RowMapping]],
) -> list[Message]:
    """End the attempts on `rows` as lost and return the messages of those that are queued again.

    Args:
        rows: selects, locks and returns the running rows whose owner is gone.
    """
    requeued: list[uuid.UUID] = []
    with engine.begin() as connection:
        for row in rows(connection):
            lost = _claim_from(kind, row)
            decision = decide(FailureClass.LOST, lost.counters, limits)
            ending = Ending(outcome=FailureClass.LOST, decision=decision, stage=row["stage"], reason=reason)
            end(connection, lost, ending)
            if decision.state is WorkState.QUEUED:
                requeued.append(lost.id)
        return messages_for(connection, kind, requeued)


def give_back_of_dead_owner(engine: Engine, kind: WorkKind, row: uuid.UUID, limits: Limits) -> list[Message]:
    """Give `row` back if it is leased by a process of this host that is gone: redelivery found it."""
    return give_back_lost(
        engine,
        kind,
        limits,
        "its worker process died",
        lambda connection: [
            found
            for found in connection.execute(_running_statement(kind, "id = :id"), {"id": row}).mappings()
            if Instance.parse(found["owner_instance"]).is_dead()
        ],
    )


def give_back_of_node(engine: Engine, kind: WorkKind, owner: Owner, limits: Limits) -> list[Message]:
    """Give back what an earlier instance of this node name left running: its worker starts again."""

    def gone(instance: Instance) -> bool:
        same_place = (instance.host, instance.pid_namespace) == (
            owner.instance.host,
            owner.instance.pid_namespace,
        )
        return instance.is_dead() if same_place else True

    return give_back_lost(
        engine,
        kind,
        limits,
        "its worker was started again",
        lambda connection: [
            found
            for found in connection.execute(
                _running_statement(kind, "owner_node = :node"), {"node": owner.node}
            ).mappings()
            if gone(Instance.parse(found["owner_instance"]))
        ],
    )


def give_back_expired(engine: Engine, kind: WorkKind, limits: Limits) -> list[Message]:
    """Give back every row whose lease has ended."""
    return give_back_lost(
        engine,
        kind,
        limits,
        "its lease ended without a heartbeat",
        lambda connection: (
            connection.execute(_running_statement(kind, "lease_until < now()")).mappings().all()
        ),
    )


def messages_for(
    connection: Connection, kind: WorkKind, rows: Sequence[uuid.UUID], countdown_s: float = 0.0
) -> list[Message]:
    """Return the messages of `rows` and note that they are sent; most urgent and oldest first."""
    if not rows:
        return []
    found = connection.execute(_message_statement(kind), {"ids": list(rows)}).mappings()
    return [
        Message(
            kind=kind,
            row_id=row["id"],
            label=(row["model"],) if kind is WorkKind.CONVERSION else (row["model"], row["pool"]),
            queue=CONVERT_QUEUE if kind is WorkKind.CONVERSION else benchmark_queue(row["pool"]),
            priority=row["priority"],
            countdown_s=countdown_s,
        )
        for row in found
    ]


def _storable(value: Any) -> Any:
    """Return what a model's code may have had its hand in as Postgres's text and JSON can hold it."""
    if isinstance(value, str):
        # Neither NUL nor half of a surrogate pair.
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


def _claim_from(kind: WorkKind, row: RowMapping) -> Claim:
    return Claim(
        kind=kind,
        id=row["id"],
        campaign_id=row["campaign_id"],
        attempt=row["attempt"],
        counters=Counters(
            strikes=row["strikes"],
            losses=row["losses"],
            device_failures=row["device_failures"],
            infrastructure_failures=row["infrastructure_failures"],
        ),
    )


_COUNTED = """
    (SELECT count(*) FROM attempt a WHERE a.work_id = w.id AND a.outcome = 'device') AS device_failures,
    (SELECT count(*) FROM attempt a WHERE a.work_id = w.id AND a.outcome = 'infrastructure')
        AS infrastructure_failures
"""


@cache
def _claim_statement(kind: WorkKind) -> TextClause:
    return text(f"""
WITH w AS (
    UPDATE {kind} w
    SET state = 'running', attempt = w.attempt + 1, owner_node = :node, owner_instance = :instance,
        lease_until = now() + make_interval(secs => :lease),
        deadline = now() + make_interval(secs => :deadline),
        stage = 'claim', failure_class = NULL, reason = NULL, started_at = now(), finished_at = NULL
    FROM campaign c
    WHERE w.id = :id AND w.state = 'queued' AND w.available_at <= now()
      AND c.id = w.campaign_id AND c.state = 'active'
    RETURNING w.id, w.campaign_id, w.attempt, w.strikes, w.losses
), noted AS (
    INSERT INTO attempt (kind, work_id, campaign_id, number, owner_node, owner_instance)
    SELECT '{kind}', id, campaign_id, attempt, :node, :instance FROM w
)
SELECT w.*, {_COUNTED} FROM w
""")  # noqa: S608  (kind is one of two words of an enum, here and below)


@cache
def _heartbeat_statement(kind: WorkKind) -> TextClause:
    return text(f"""
UPDATE {kind}
SET lease_until = least(now() + make_interval(secs => :lease), deadline), stage = coalesce(:stage, stage)
WHERE id = :id AND state = 'running' AND attempt = :attempt
""")  # noqa: S608


@cache
def _end_statement(kind: WorkKind) -> TextClause:
    return text(f"""
WITH w AS (
    UPDATE {kind}
    SET state = :state, strikes = :strikes, losses = :losses,
        available_at = now() + make_interval(secs => :pause),
        owner_node = NULL, owner_instance = NULL, lease_until = NULL, deadline = NULL,
        stage = coalesce(:stage, stage), failure_class = :failure_class, reason = :reason,
        finished_at = CASE WHEN :state = 'queued' THEN NULL ELSE now() END
    WHERE id = :id AND state = 'running' AND attempt = :attempt
    RETURNING id, stage
)
UPDATE attempt
SET ended_at = now(), outcome = :outcome, stage = w.stage, reason = :reason, details = :details
FROM w WHERE attempt.work_id = w.id AND attempt.number = :attempt
""").bindparams(bindparam("details", type_=JSONB(none_as_null=True)))  # noqa: S608


@cache
def _running_statement(kind: WorkKind, condition: str) -> TextClause:
    return text(f"""
SELECT w.id, w.campaign_id, w.attempt, w.strikes, w.losses, w.owner_instance, w.stage, {_COUNTED}
FROM {kind} w WHERE state = 'running' AND {condition} FOR UPDATE OF w SKIP LOCKED
""")  # noqa: S608


@cache
def _message_statement(kind: WorkKind) -> TextClause:
    pool, source = {
        WorkKind.CONVERSION: ("NULL", "model m WHERE m.id = w.model_id"),
        WorkKind.BENCHMARK: (
            "w.pool",
            "conversion v JOIN model m ON m.id = v.model_id WHERE v.id = w.conversion_id",
        ),
    }[kind]
    return text(f"""
WITH sent AS (
    UPDATE {kind} w SET sent_at = now() FROM {source} AND w.id = ANY(:ids)
    RETURNING w.id, w.priority, w.created_at, m.name AS model, {pool} AS pool
)
SELECT * FROM sent ORDER BY priority DESC, created_at, id
""")  # noqa: S608
