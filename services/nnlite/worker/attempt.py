"""One attempt at a row, from its message to its stored outcome; the same for all workers.

`run_attempt` claims the row, calls the worker's handler and stores the outcome.
Which state follows from a failure is decided in `nnlite.queue.retry`; leases are
those of `nnlite.queue.leases`.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from nnlite.db.engine import first_line, is_outage
from nnlite.db.schema import DatabaseError
from nnlite.errors import Failure, FailureClass, Stopped, Unavailable
from nnlite.host.backoff import Backoff
from nnlite.queue import leases
from nnlite.queue.leases import BusyError, Claim, LeaseLostError
from nnlite.queue.messages import BrokerClient, BrokerUnreachableError, Message
from nnlite.queue.owner import Owner
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, Stage, WorkKind, WorkState
from nnlite.worker.schema_guard import SchemaGuard

log = structlog.get_logger()

#: Pause before a message comes again whose model is being converted for another campaign, seconds.
BUSY_PAUSE_S = 5.0
_STORE_BACKOFF: Final = Backoff(first_s=0.2, max_s=5)


class PostgresUnreachableError(Unavailable):
    """Postgres cannot be reached and nothing was claimed: the message must be delivered again."""


class Outcome(StrEnum):
    """Result of handling a message; Flower shows it."""

    NOTHING = "nothing"  # the row could not be claimed
    BUSY = "busy"  # its model is being converted for another campaign; the message comes again
    DONE = "done"
    FAILED = "failed"  # with a failure class
    RELEASED = "released"
    NOT_STORED = "not stored"  # the lease is lost, or Postgres was away until the deadline or the stop


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of an attempt: how to store it, and details of the attempt."""

    #: Writes the rows in the transaction that completes the attempt; returns messages to send after it.
    write: Callable[[Connection], list[Message]]
    state: WorkState = WorkState.DONE
    #: Why, where the state needs one (`skipped`).
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Resources of one worker process: connections, identity, settings and its stop flag."""

    engine: Engine
    broker: BrokerClient
    owner: Owner
    settings: Settings
    #: Looks at the schema before a claim; None: nobody upgrades it meanwhile.
    guard: SchemaGuard | None = None
    #: Whether the worker is stopping.
    stopping: Callable[[], bool]
    #: Tells the worker's watchdog that work goes on; called in every wait of an attempt.
    mark_progress: Callable[[], None] = lambda: None


#: Does the work of a claimed row; raises `Failure`, `Stopped` or `LeaseLostError` without a result.
Handler = Callable[[Claim], Result]


def run_attempt(
    context: WorkerContext, kind: WorkKind, row: uuid.UUID, handler: Handler, deadline_s: float
) -> Outcome:
    """Make one attempt at `row` and return its outcome.

    Raises:
        PostgresUnreachableError: Postgres does not answer and nothing was claimed.
        SchemaChangedError: the schema is another version's and nothing was claimed.
        DBAPIError: Postgres rejects a statement of nnlite; the row is requeued when its lease expires.
    """
    if context.stopping():
        return Outcome.NOTHING
    started_s = time.monotonic()
    try:
        if context.guard is not None:
            context.guard.check()
        claim = _claim(context, kind, row, deadline_s)
    except BusyError:
        return Outcome.BUSY
    except DatabaseError as error:
        raise PostgresUnreachableError(str(error)) from error
    except DBAPIError as error:
        if not is_outage(error):
            raise
        raise PostgresUnreachableError(f"Postgres cannot be reached: {first_line(error)}") from error
    if claim is None:
        return Outcome.NOTHING
    with structlog.contextvars.bound_contextvars(
        work=kind.value,
        row=str(row),
        campaign=claim.campaign_id and str(claim.campaign_id),
        attempt=claim.attempt,
    ):
        end = _call(handler, claim)
        stored = _store_end(context, claim, end, started_s + claim.deadline_s) if end else None
        return _outcome(stored)


def renew(context: WorkerContext, claim: Claim, stage: Stage, backend: Backend | None = None) -> None:
    """Renew the lease of a running attempt; a heartbeat that Postgres does not answer is logged and dropped.

    Raises:
        LeaseLostError: the row is no longer this attempt's.
    """
    try:
        leases.heartbeat(context.engine, claim, context.settings.queue.lease_s, stage, backend)
    except DBAPIError as error:
        if not is_outage(error):
            raise
        # Whether the lease expired is known when Postgres answers again.
        log.warning("no heartbeat: Postgres cannot be reached", error=str(error.orig).strip())


class Heartbeat:
    """Keeps the lease of an attempt whose worker waits for a child process in a loop of ticks."""

    def __init__(self, context: WorkerContext, claim: Claim) -> None:
        self._context = context
        self._claim = claim
        self._renewed_s = time.monotonic()

    def tick(self, stage: Stage) -> None:
        """Renew the lease if a heartbeat is due.

        Raises:
            LeaseLostError: the row is no longer this attempt's.
            Stopped: the worker is stopping.
        """
        self._context.mark_progress()
        if self._context.stopping():
            raise Stopped("the worker is stopping")
        if time.monotonic() - self._renewed_s >= self._context.settings.queue.heartbeat_s:
            self.send(stage)

    def send(self, stage: Stage) -> None:
        """Renew the lease now; raises as `renew`."""
        self._renewed_s = time.monotonic()
        renew(self._context, self._claim, stage)


def _claim(context: WorkerContext, kind: WorkKind, row: uuid.UUID, deadline_s: float) -> Claim | None:
    def take() -> Claim | None:
        return leases.claim(
            context.engine,
            kind,
            row,
            context.owner,
            lease_s=context.settings.queue.lease_s,
            deadline_s=deadline_s,
            further_s=context.settings.further_deadline_s(kind),
        )

    if (claim := take()) is not None:
        return claim
    # Celery redelivers within a second of a worker's death, long before the lease expires.
    if leases.requeue_of_dead_owner(context.engine, kind, row, context.settings.queue):
        return take()
    return None


def _call(handler: Handler, claim: Claim) -> Result | Failure | None:
    """Return the result or the failure of the attempt; None if its lease is lost."""
    try:
        return handler(claim)
    except Failure as failure:
        return failure
    except LeaseLostError:
        log.info("lease lost")
        return None
    except Stopped:
        return Failure(FailureClass.RELEASED, Stage.CLAIM, "the worker stopped gracefully")
    except (DataError, IntegrityError) as error:
        return _refused_result(claim, error)
    except DBAPIError as error:
        if not is_outage(error):
            raise
        return Failure(FailureClass.INFRASTRUCTURE, Stage.CLAIM, f"Postgres: {first_line(error)}")


def _store_end(
    context: WorkerContext, claim: Claim, end: Result | Failure, deadline_s: float
) -> Result | Failure | None:
    """Store `end` and send its messages; tries again while Postgres is away, until the row's deadline.

    Returns:
        What was stored; None: nothing was.
    """
    tries = 0
    while True:
        try:
            messages = _store_once(context, claim, end)
        except LeaseLostError:
            log.info("lease lost; nothing was stored")
            return None
        except (DataError, IntegrityError, ValueError) as error:
            if isinstance(end, Failure):
                raise
            end = _refused_result(claim, error)
        except DBAPIError as error:
            if not is_outage(error):
                raise
            pause_s = _STORE_BACKOFF.pause_s(tries)
            if time.monotonic() + pause_s > deadline_s or context.stopping():
                log.error("the outcome of an attempt could not be stored", error=first_line(error))
                return None
            log.warning("Postgres cannot be reached; trying again", pause_s=pause_s, error=first_line(error))
            context.mark_progress()
            time.sleep(pause_s)
            tries += 1
        else:
            if send(context.broker, messages):
                context.broker.announce_end()
            return end


def _outcome(end: Result | Failure | None) -> Outcome:
    """Return the outcome of the message whose attempt was stored as `end`."""
    if end is None:
        return Outcome.NOT_STORED
    if isinstance(end, Result):
        return Outcome.DONE
    return Outcome.RELEASED if end.failure_class is FailureClass.RELEASED else Outcome.FAILED


def _refused_result(claim: Claim, error: DBAPIError | ValueError) -> Failure:
    """Return the failure for a result that Postgres cannot store; a retry would not help."""
    reason = first_line(error) if isinstance(error, DBAPIError) else str(error)
    failure_class = {
        WorkKind.CONVERSION: FailureClass.CONVERTER,
        WorkKind.BENCHMARK: FailureClass.DEVICE,
        WorkKind.RUNTIME_CHECK: FailureClass.DEVICE,
    }[claim.kind]
    return Failure(failure_class, Stage.STORE, f"the result cannot be stored: {reason}")


def _store_once(context: WorkerContext, claim: Claim, end: Result | Failure) -> list[Message]:
    """Store `end` and return the messages to send."""
    if isinstance(end, Result):
        return leases.finish(
            context.engine, claim, end.write, state=end.state, reason=end.reason, details=end.details
        )
    decision = leases.fail(context.engine, claim, end, context.settings.queue)
    log.info(
        "attempt failed",
        failure=end.failure_class,
        stage=end.stage,
        reason=end.reason,
        next_state=decision.state,
    )
    if decision.state is not WorkState.QUEUED:
        return []
    # A second later, so that the message never arrives before the row is available.
    countdown_s = decision.pause_s + 1 if decision.pause_s else 0.0
    with context.engine.begin() as connection:
        return leases.build_messages(connection, claim.kind, [claim.id], countdown_s)


def send(broker: BrokerClient, messages: list[Message]) -> bool:
    """Send `messages` and return whether Redis took them; the reaper sends those that it did not."""
    try:
        broker.send(messages)
    except BrokerUnreachableError as error:
        log.warning("messages were not sent; the reaper will", messages=len(messages), error=str(error))
        return False
    return True
