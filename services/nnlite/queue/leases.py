"""The right to work on a row: claim, heartbeat, and the fenced end of an attempt.

Every function is one short transaction on Postgres, whose `now()` is the only
clock. A write that names row, state and attempt and finds no row has lost its
right: `LeaseLostError`, and nothing was written.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import IntegrityError

from nnlite.db.engine import autocommit, storable
from nnlite.errors import Counters, Decision, Failure, FailureClass, Limits, NnliteError, decide
from nnlite.queue import statements
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.messages import Message
from nnlite.queue.owner import Instance, Owner
from nnlite.vocabulary import Backend, Stage, WorkKind, WorkState


class LeaseLostError(NnliteError):
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
    #: What the work is: the columns of `statements`, read in the same moment; not part of the right.
    work: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended, as it is written."""

    #: `done`, `skipped` or a failure class.
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
                    statements.claim_row(kind),
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
    return None if found is None else _claim_from(kind, found, work=dict(found))


def heartbeat(
    engine: Engine,
    claim: Claim,
    lease_s: float,
    stage: Stage | None = None,
    backend: Backend | None = None,
) -> None:
    """Renew the lease, never past the deadline, and say where the work stands.

    Args:
        stage: where it is; None: where it was.
        backend: what a benchmark measures now; None: what it was. An ended row has none.

    Raises:
        LeaseLostError: the row is no longer this attempt's; kill the work.
    """
    with autocommit(engine) as connection:
        renewed = connection.execute(
            statements.renew_lease(claim.kind),
            {"id": claim.id, "attempt": claim.attempt, "lease": lease_s, "stage": stage, "backend": backend},
        )
    if renewed.rowcount == 0:
        raise LeaseLostError(f"{claim.kind} {claim.id}, attempt {claim.attempt}")


def end(connection: Connection, claim: Claim, ending: AttemptEnd) -> None:
    """Write how the attempt ended, in the caller's transaction: state, counters and history.

    Raises:
        LeaseLostError: the caller's transaction must be rolled back.
    """
    decision = ending.decision
    ended = connection.execute(
        statements.end_attempt(claim.kind),
        {
            "id": claim.id,
            "attempt": claim.attempt,
            "state": decision.state,
            "strikes": decision.strikes,
            "losses": decision.losses,
            "pause": decision.pause_s,
            "failure_class": ending.outcome if ending.outcome in set(FailureClass) else None,
            "outcome": ending.outcome,
            "stage": ending.stage,
            "reason": storable(ending.reason),
            "details": storable(ending.details),
        },
    )
    if ended.rowcount == 0:
        raise LeaseLostError(f"{claim.kind} {claim.id}, attempt {claim.attempt}")


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
        LeaseLostError: nothing was written.
    """
    kept = claim.counters
    decision = Decision(state=state, strikes=kept.strikes, losses=kept.losses)
    with engine.begin() as connection:
        end(
            connection,
            claim,
            AttemptEnd(outcome=state.value, decision=decision, reason=reason, details=details),
        )
        return write(connection)


def fail(engine: Engine, claim: Claim, failure: Failure, limits: Limits) -> Decision:
    """End the attempt with `failure` and return what became of the row.

    Raises:
        LeaseLostError: nothing was written.
    """
    decision = decide(failure.failure_class, claim.counters, limits)
    ending = AttemptEnd(
        outcome=failure.failure_class,
        decision=decision,
        stage=failure.stage,
        reason=failure.reason,
        details=failure.details,
    )
    with engine.begin() as connection:
        end(connection, claim, ending)
    return decision


def requeue_lost(
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
            ending = AttemptEnd(
                outcome=FailureClass.LOST, decision=decision, stage=row["stage"], reason=reason
            )
            end(connection, lost, ending)
            if decision.state is WorkState.QUEUED:
                requeued.append(lost.id)
        return build_messages(connection, kind, requeued)


def requeue_of_dead_owner(engine: Engine, kind: WorkKind, row: uuid.UUID, limits: Limits) -> list[Message]:
    """Give `row` back if it is leased by a process of this host that is gone: redelivery found it."""
    return requeue_lost(
        engine,
        kind,
        limits,
        "its worker process died",
        lambda connection: [
            found
            for found in connection.execute(statements.running_rows(kind, "id = :id"), {"id": row}).mappings()
            if Instance.parse(found["owner_instance"]).is_dead()
        ],
    )


def requeue_of_node(engine: Engine, kind: WorkKind, owner: Owner, limits: Limits) -> list[Message]:
    """Give back what an earlier instance of this node name left running: its worker starts again.

    One of another container of this machine had the name before. One of another boot may be a namesake
    on another machine: it keeps its rows until their leases end.
    """

    def gone(row: RowMapping) -> bool:
        instance = Instance.parse(row["owner_instance"])
        if instance.in_sight:
            return instance.is_dead()
        return instance.of_this_boot or bool(row["lease_ended"])

    return requeue_lost(
        engine,
        kind,
        limits,
        "its worker was started again",
        lambda connection: [
            found
            for found in connection.execute(
                statements.running_rows(kind, "owner_node = :node"), {"node": owner.node}
            ).mappings()
            if gone(found)
        ],
    )


def requeue_expired(engine: Engine, kind: WorkKind, limits: Limits) -> list[Message]:
    """Give back every row whose lease has ended."""
    return requeue_lost(
        engine,
        kind,
        limits,
        "its lease ended without a heartbeat",
        lambda connection: (
            connection.execute(statements.running_rows(kind, "lease_until < now()")).mappings().all()
        ),
    )


def build_messages(
    connection: Connection, kind: WorkKind, rows: Sequence[uuid.UUID], countdown_s: float = 0.0
) -> list[Message]:
    """Return the messages of `rows` and note that they are sent; most urgent and oldest first."""
    if not rows:
        return []
    found = connection.execute(statements.rows_to_send(kind), {"ids": list(rows)}).mappings()
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


def _claim_from(kind: WorkKind, row: RowMapping, work: Mapping[str, Any] | None = None) -> Claim:
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
        work=work or {},
    )
