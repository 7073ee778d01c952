"""The closed list of failure classes and what follows from each.

`decide` is the only place that turns a failure into the next state of a row.
It computes and touches nothing; the queue's leases write what it returns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nnlite.vocabulary import Stage, WorkState


class FailureClass(StrEnum):
    """Why an attempt ended without a result; stored with every attempt."""

    MODEL = "model"  # the model cannot: final at once
    CONVERTER = "converter"  # the converter crashed or exceeded a limit: a strike
    RUNTIME = "runtime"  # the runtime or a delegate refuses the artifact: final for that backend
    DEVICE = "device"  # the device misbehaved: heal it, the work goes back
    INFRASTRUCTURE = "infrastructure"  # Postgres, Redis or the store unreachable: again
    LOST = "lost"  # owner dead or lease expired: a loss
    RELEASED = "released"  # worker stopped in order: counts for nothing


class NnliteError(Exception):
    """Something that nnlite can explain: the message names the thing, the value and the way out."""


class Stopped(NnliteError):
    """The worker was told to stop while it waited or measured; what it had begun was undone."""


class Failure(NnliteError):
    """An attempt that ended without a result.

    Args:
        failure_class: decides what happens next.
        stage: where the attempt was.
        reason: one sentence for people.
        details: evidence worth keeping (exit status, signal, stderr tail, operator); JSON values.
    """

    def __init__(
        self,
        failure_class: FailureClass,
        stage: Stage,
        reason: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.failure_class = failure_class
        self.stage = stage
        self.reason = reason
        self.details = dict(details or {})

    def __str__(self) -> str:
        return f"{self.failure_class} failure at {self.stage}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What a row remembers of its earlier attempts."""

    #: Attempts that spoke against the work itself.
    strikes: int = 0
    #: Attempts whose worker vanished.
    losses: int = 0
    #: Attempts that ended with class `device`.
    device_failures: int = 0
    #: Attempts that ended with class `infrastructure`.
    infrastructure_failures: int = 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a row has had enough."""

    max_strikes: int = 3
    max_losses: int = 10
    #: Longest pause before work is tried again, seconds.
    max_pause_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a failure makes of a row."""

    state: WorkState
    strikes: int
    losses: int
    #: Seconds from now until the row may be claimed again.
    pause_s: float = field(default=0.0)


def decide(failure_class: FailureClass, counters: Counters, limits: Limits) -> Decision:
    """Return the next state of a row whose running attempt ended with `failure_class`."""
    strikes, losses, pause_s = counters.strikes, counters.losses, 0.0
    state = WorkState.QUEUED
    match failure_class:
        case FailureClass.MODEL | FailureClass.RUNTIME:
            state = WorkState.FAILED
        case FailureClass.CONVERTER:
            strikes += 1
        case FailureClass.DEVICE:
            # The first one may be the device's own fault; a second boot that fails alike is not.
            strikes += 1 if counters.device_failures else 0
        case FailureClass.INFRASTRUCTURE:
            pause_s = min(2.0 ** min(counters.infrastructure_failures, 10), limits.max_pause_s)
        case FailureClass.LOST:
            losses += 1
        case FailureClass.RELEASED:
            pass
    if state is WorkState.QUEUED and (strikes >= limits.max_strikes or losses >= limits.max_losses):
        state = WorkState.QUARANTINED
    return Decision(state=state, strikes=strikes, losses=losses, pause_s=pause_s)
