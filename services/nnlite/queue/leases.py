"""Row leases with fencing tokens: claim, renew and complete an attempt.

Every function is one short transaction on Postgres, whose `now()` is the only clock. A write names row, state
and attempt number; with a stale number it finds no row, writes nothing and raises `LeaseLostError`.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import IntegrityError

from nnlite.db.engine import autocommit, storable
from nnlite.errors import Failure, FailureClass, NnliteError
from nnlite.queue import statements
from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.queue.messages import Message
from nnlite.queue.owner import Instance, Owner
from nnlite.queue.retry import Counters, Decision, decide
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import CAMPAIGN_KINDS, Backend, Stage, WorkKind, WorkState


class LeaseLostError(NnliteError):
    """The lease is no longer this attempt's: expired, cancelled or claimed by another."""


class BusyError(NnliteError):
    """Another worker is converting the same model for another campaign; its result will be in the cache."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The lease of one attempt on a row."""

    kind: WorkKind
    id: uuid.UUID
    #: None of a runtime check.
    campaign_id: uuid.UUID | None
    #: Number of the attempt: the fencing token.
    attempt: int
    counters: Counters
    deadline_s: float = field(default=0.0, compare=False)  # longest that it may hold the row, from the claim
    #: Columns of the claimed row and its joins, read by the claiming statement; not part of the lease.
    payload: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


def claim(
    engine: Engine,
    kind: WorkKind,
    row: uuid.UUID,
    owner: Owner,
    *,
    lease_s: float,
    deadline_s: float,
    further_s: float = 0.0,
) -> Claim | None:
    """Lease a queued row of an active campaign, or return None if it cannot be claimed.

    Args:
        further_s: added to the deadline of a benchmark for each number of threads beyond the first, for each
            pass of a measurement (with its own seconds) and each backend that accuracy is measured on, and
            to that of a conversion with an evaluation.

    Raises:
        BusyError: the same identity is being converted under another row.
    """
    parameters = {
        "id": row, "node": owner.node, "instance": str(owner.instance),
        "lease": min(lease_s, deadline_s), "deadline": deadline_s, "further": further_s,
    }  # fmt: skip
    try:
        with autocommit(engine) as connection:
            claimed = connection.execute(statements.claim_row(kind), parameters).mappings().one_or_none()
    except IntegrityError as error:
        raise BusyError(f"another worker converts the model of conversion {row}") from error
    return None if claimed is None else _claim_from(kind, claimed, payload=dict(claimed))


def heartbeat(
    engine: Engine, claim: Claim, lease_s: float, stage: Stage | None = None, backend: Backend | None = None
) -> None:
    """Renew the lease, never past the deadline, and store the attempt's progress.

    Args:
        stage: current one; None: unchanged.
        backend: that a benchmark measures now; None: unchanged.

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


def _complete(
    connection: Connection,
    claim: Claim,
    outcome: str,
    decision: Decision,
    *,
    stage: Stage | None = None,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write the attempt's outcome, in the caller's transaction: state, counters and history.

    Args:
        outcome: `done`, `skipped` or a failure class.

    Raises:
        LeaseLostError: the caller's transaction must be rolled back.
    """
    updated = connection.execute(
        statements.end_attempt(claim.kind),
        {
            "id": claim.id,
            "attempt": claim.attempt,
            "state": decision.state,
            "strikes": decision.strikes,
            "losses": decision.losses,
            "pause": decision.pause_s,
            "failure_class": outcome if outcome in set(FailureClass) else None,
            "outcome": outcome,
            "stage": stage,
            "reason": storable(reason),
            "details": storable(details),
        },
    )
    if updated.rowcount == 0:
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
    """Complete the attempt with its result, all in one transaction; return the messages to send after it.

    Args:
        write: writes the result's rows and returns the messages that follow from them.

    Raises:
        LeaseLostError: nothing was written.
    """
    counters = claim.counters
    decision = Decision(state=state, strikes=counters.strikes, losses=counters.losses)
    with engine.begin() as connection:
        _complete(connection, claim, state.value, decision, reason=reason, details=details)
        return write(connection)


def fail(engine: Engine, claim: Claim, failure: Failure, limits: QueueSettings) -> Decision:
    """Complete the attempt with `failure` and return the decision on its row.

    Raises:
        LeaseLostError: nothing was written.
    """
    decision = decide(failure.failure_class, claim.counters, limits)
    with engine.begin() as connection:
        _complete(
            connection, claim, failure.failure_class, decision,
            stage=failure.stage, reason=failure.reason, details=failure.details,
        )  # fmt: skip
    return decision


def requeue_of_dead_owner(
    engine: Engine, kind: WorkKind, row: uuid.UUID, limits: QueueSettings
) -> list[Message]:
    """Requeue `row` if a dead process of this host holds its lease: its message was redelivered."""

    def is_dead(leased: RowMapping) -> bool:
        return Instance.parse(leased["owner_instance"]).is_dead()

    reason = "its worker process died"
    return _requeue(engine, kind, limits, reason, condition="id = :id", values={"id": row}, is_lost=is_dead)


def requeue_of_node(engine: Engine, kind: WorkKind, owner: Owner, limits: QueueSettings) -> list[Message]:
    """Requeue the rows of earlier processes with this node name, when their worker starts again.

    A process in another container of this boot had the name before and is gone. One of another boot may run
    on another machine under the same name: its rows stay until their leases expire.
    """

    def is_gone(leased: RowMapping) -> bool:
        instance = Instance.parse(leased["owner_instance"])
        if instance.in_sight:
            return instance.is_dead()
        return instance.of_this_boot or bool(leased["lease_ended"])

    return _requeue(
        engine,
        kind,
        limits,
        "its worker was started again",
        condition="owner_node = :node",
        values={"node": owner.node},
        is_lost=is_gone,
    )


def requeue_expired(engine: Engine, kind: WorkKind, limits: QueueSettings) -> list[Message]:
    """Requeue every row whose lease has expired."""
    reason = "its lease ended without a heartbeat"
    return _requeue(engine, kind, limits, reason, condition="lease_until < now()", values={})


def _requeue(
    engine: Engine,
    kind: WorkKind,
    limits: QueueSettings,
    reason: str,
    *,
    condition: str,
    values: Mapping[str, Any],
    is_lost: Callable[[RowMapping], bool] = lambda _: True,
) -> list[Message]:
    """Complete attempts as lost and return the messages of the rows that are queued again.

    Args:
        condition: selects the running rows to lock, in SQL.
        is_lost: whether the owner of such a row is dead.
    """
    requeued: list[uuid.UUID] = []
    with engine.begin() as connection:
        rows = connection.execute(statements.running_rows(kind, condition), values).mappings().all()
        for row in filter(is_lost, rows):
            lost = _claim_from(kind, row)
            decision = decide(FailureClass.LOST, lost.counters, limits)
            _complete(connection, lost, FailureClass.LOST, decision, stage=row["stage"], reason=reason)
            if decision.state is WorkState.QUEUED:
                requeued.append(lost.id)
        return build_messages(connection, kind, requeued)


def build_messages(
    connection: Connection, kind: WorkKind, rows: Sequence[uuid.UUID], countdown_s: float = 0.0
) -> list[Message]:
    """Return the messages of `rows`, most urgent and oldest first, and mark the rows as sent.

    Runtime checks have no messages: their workers poll.
    """
    if not rows or kind not in CAMPAIGN_KINDS:
        return []
    rows_sent = connection.execute(statements.rows_to_send(kind), {"ids": list(rows)}).mappings()
    return [
        Message(
            kind=kind,
            row_id=row["id"],
            display_args=(row["model"],) if kind is WorkKind.CONVERSION else (row["model"], row["pool"]),
            queue=CONVERT_QUEUE if kind is WorkKind.CONVERSION else benchmark_queue(row["pool"]),
            priority=row["priority"],
            countdown_s=countdown_s,
        )
        for row in rows_sent
    ]


def _claim_from(kind: WorkKind, row: RowMapping, payload: Mapping[str, Any] | None = None) -> Claim:
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
        deadline_s=row.get("deadline_s", 0.0),
        payload=payload or {},
    )
