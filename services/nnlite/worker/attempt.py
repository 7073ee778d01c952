"""One attempt at a row, from its message to its end: what both workers' tasks call.

`work` claims, calls what does the work, and writes how it ended; the workers
bring only the `perform` in the middle. Rules about what follows from a failure
are in `nnlite.errors`, about rights in `leases`.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from nnlite.errors import Failure, FailureClass, NnliteError, Stopped
from nnlite.queue import leases
from nnlite.queue.leases import BusyError, Claim, LeaseLostError
from nnlite.queue.messages import BrokerClient, BrokerUnreachableError, Message
from nnlite.queue.owner import Owner
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, Stage, WorkKind, WorkState

log = structlog.get_logger()

#: Pause before a row whose twin is being converted is looked at again, seconds.
BUSY_PAUSE_S = 5.0


class UnreachableError(NnliteError):
    """Postgres cannot be reached and nothing was claimed: the message must come again."""


class Outcome(StrEnum):
    """What became of a message."""

    NOTHING = "nothing"  # the row was not to be had
    BUSY = "busy"  # its twin is being converted; the message comes again
    DONE = "done"
    FAILED = "failed"  # ended with a failure class
    RELEASED = "released"
    LEASE_LOST = "right lost"  # cancelled, or expired and somebody else's


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an attempt made: how to write it, and what the attempt says of itself."""

    #: Writes the rows in the transaction that ends the attempt; returns messages to send after it.
    write: Callable[[Connection], list[Message]]
    state: WorkState = WorkState.DONE
    #: Why, where the state needs one (`skipped`).
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """What one worker process works with."""

    engine: Engine
    broker: BrokerClient
    owner: Owner
    settings: Settings
    #: Whether the worker is told to stop.
    stopping: Callable[[], bool]
    #: Says that work goes on, to the worker's watchdog; called in every wait of an attempt.
    alive: Callable[[], None] = lambda: None


Perform = Callable[[Claim], Result]


def work(
    context: WorkerContext, kind: WorkKind, row: uuid.UUID, perform: Perform, deadline_s: float
) -> Outcome:
    """Make one attempt at `row` and return what became of it.

    Raises:
        UnreachableError: Postgres does not answer and nothing was claimed.
    """
    if context.stopping():
        return Outcome.NOTHING
    started_s = time.monotonic()
    try:
        claim = _claim(context, kind, row, deadline_s)
    except BusyError:
        return Outcome.BUSY
    except DBAPIError as error:
        raise UnreachableError(f"Postgres cannot be reached: {_first_line(error)}") from error
    if claim is None:
        return Outcome.NOTHING
    with structlog.contextvars.bound_contextvars(
        work=kind.value, row=str(row), campaign=str(claim.campaign_id), attempt=claim.attempt
    ):
        end = _attempt(claim, perform)
        return _outcome(_write_end(context, claim, end, started_s + deadline_s))


def renew(context: WorkerContext, claim: Claim, stage: Stage, backend: Backend | None = None) -> None:
    """Send the heartbeat of a running attempt; one that Postgres cannot hear is said and lost.

    Raises:
        LeaseLostError: the row is no longer this attempt's.
    """
    try:
        leases.heartbeat(context.engine, claim, context.settings.queue.lease_s, stage, backend)
    except DBAPIError as error:
        # The lease may end; whether it did is found out when Postgres answers again.
        log.warning("no heartbeat: Postgres cannot be reached", error=str(error.orig).strip())


def _claim(context: WorkerContext, kind: WorkKind, row: uuid.UUID, deadline_s: float) -> Claim | None:
    def take() -> Claim | None:
        return leases.claim(
            context.engine,
            kind,
            row,
            context.owner,
            lease_s=context.settings.queue.lease_s,
            deadline_s=deadline_s,
        )

    if (claim := take()) is not None:
        return claim
    # Celery delivers again within a second of a worker's death, long before the lease ends.
    if leases.requeue_of_dead_owner(context.engine, kind, row, context.settings.limits):
        return take()
    return None


def _attempt(claim: Claim, perform: Perform) -> Result | Failure | None:
    """Return the result or the failure of the attempt; None if the right to the row is lost."""
    try:
        return perform(claim)
    except Failure as failure:
        return failure
    except LeaseLostError:
        return None
    except Stopped:
        return Failure(FailureClass.RELEASED, Stage.CLAIM, "the worker was stopped in order")
    except DBAPIError as error:
        return Failure(FailureClass.INFRASTRUCTURE, Stage.CLAIM, f"Postgres: {_first_line(error)}")


def _write_end(
    context: WorkerContext, claim: Claim, end: Result | Failure | None, deadline_s: float
) -> Result | Failure | None:
    """Write `end`, again and again while Postgres cannot be reached, until the deadline of the row.

    Returns:
        What was written; None: the right was lost, and nothing was.
    """
    pause_s = 0.2
    while end is not None:
        try:
            _write_once(context, claim, end)
            return end
        except LeaseLostError:
            break
        except (DataError, IntegrityError, ValueError) as error:
            if isinstance(end, Failure):
                raise
            end = _refused_result(claim, error)
        except DBAPIError as error:
            if time.monotonic() + pause_s > deadline_s or context.stopping():
                log.error("the end of an attempt could not be written", error=_first_line(error))
                break
            log.warning("Postgres cannot be reached; trying again", pause_s=pause_s, error=_first_line(error))
            context.alive()
            threading.Event().wait(pause_s)
            pause_s = min(pause_s * 2, 5.0)
    log.info("right lost; nothing was written")
    return None


def _outcome(end: Result | Failure | None) -> Outcome:
    """Return what became of the message whose attempt ended with `end`."""
    if end is None:
        return Outcome.LEASE_LOST
    if isinstance(end, Result):
        return Outcome.DONE
    return Outcome.RELEASED if end.failure_class is FailureClass.RELEASED else Outcome.FAILED


def _refused_result(claim: Claim, error: DBAPIError | ValueError) -> Failure:
    """Return the failure that a result is which Postgres cannot hold; trying again changes nothing."""
    why = _first_line(error) if isinstance(error, DBAPIError) else str(error)
    failure_class = {
        WorkKind.CONVERSION: FailureClass.CONVERTER,
        WorkKind.BENCHMARK: FailureClass.DEVICE,
    }[claim.kind]
    return Failure(failure_class, Stage.STORE, f"the result cannot be stored: {why}")


def _write_once(context: WorkerContext, claim: Claim, end: Result | Failure) -> None:
    if isinstance(end, Failure):
        decision = leases.fail(context.engine, claim, end, context.settings.limits)
        log.info(
            "attempt failed",
            failure=end.failure_class,
            stage=end.stage,
            reason=end.reason,
            then=decision.state,
        )
        if decision.state is WorkState.QUEUED:
            # A second late, so that the message never comes before the row is available.
            countdown_s = decision.pause_s + 1 if decision.pause_s else 0.0
            with context.engine.begin() as connection:
                again = leases.build_messages(connection, claim.kind, [claim.id], countdown_s)
            send(context.broker, again)
        return
    messages = leases.finish(
        context.engine, claim, end.write, state=end.state, reason=end.reason, details=end.details
    )
    send(context.broker, messages)


def send(broker: BrokerClient, messages: list[Message]) -> bool:
    """Send `messages` and return whether the broker took them; the reaper sends what it did not."""
    try:
        broker.send(messages)
    except BrokerUnreachableError as error:
        log.warning("messages were not sent; the reaper will", messages=len(messages), error=str(error))
        return False
    return True


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]
