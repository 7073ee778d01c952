"""Retry policy: whether a row is queued again after a failed attempt, when, or fails or is quarantined.

`decide` is the only place that turns a failure class into the next state of a
row. It has no side effects; `nnlite.queue.leases` writes what it returns.
"""

from dataclasses import dataclass

from nnlite.errors import FailureClass
from nnlite.host.backoff import Backoff
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import WorkState


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Counts of a row's earlier attempts."""

    #: Attempts whose failure counts against the row itself.
    strikes: int = 0
    #: Attempts whose worker died.
    losses: int = 0
    #: Attempts that ended with class `device`.
    device_failures: int = 0
    #: Attempts that ended with class `infrastructure`.
    infrastructure_failures: int = 0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Next state and counters of a row after a failure."""

    state: WorkState
    strikes: int
    losses: int
    #: Seconds from now until the row may be claimed again.
    pause_s: float = 0.0


def decide(failure_class: FailureClass, counters: Counters, limits: QueueSettings) -> Decision:
    """Return the next state of a row whose running attempt ended with `failure_class`."""
    strikes, losses, pause_s = counters.strikes, counters.losses, 0.0
    state = WorkState.QUEUED
    match failure_class:
        case FailureClass.MODEL | FailureClass.RUNTIME:
            state = WorkState.FAILED
        case FailureClass.CONVERTER:
            strikes += 1
        case FailureClass.DEVICE:
            # The first may be the device's own fault; after its recovery, a second counts against the work.
            strikes += 1 if counters.device_failures else 0
        case FailureClass.INFRASTRUCTURE:
            pause_s = Backoff(first_s=1, max_s=limits.max_pause_s).pause_s(counters.infrastructure_failures)
        case FailureClass.LOST:
            losses += 1
        case FailureClass.RELEASED:
            pass
    if state is WorkState.QUEUED and (strikes >= limits.max_strikes or losses >= limits.max_losses):
        state = WorkState.QUARANTINED
    return Decision(state=state, strikes=strikes, losses=losses, pause_s=pause_s)
