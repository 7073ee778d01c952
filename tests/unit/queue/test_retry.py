"""Retry policy: the next state for each failure class, and when a row is quarantined."""

import pytest

from nnlite.errors import Failure, FailureClass
from nnlite.queue.retry import Counters, Decision, decide
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import Stage, WorkState

FIRST = Counters()
LIMITS = QueueSettings(max_strikes=3, max_losses=10, max_pause_s=60)


@pytest.mark.parametrize(
    ("failure_class", "state", "strikes", "losses", "pause_s"),
    [
        (FailureClass.MODEL, WorkState.FAILED, 0, 0, 0),
        (FailureClass.CONVERTER, WorkState.QUEUED, 1, 0, 0),
        (FailureClass.RUNTIME, WorkState.FAILED, 0, 0, 0),
        (FailureClass.DEVICE, WorkState.QUEUED, 0, 0, 0),
        (FailureClass.INFRASTRUCTURE, WorkState.QUEUED, 0, 0, 1),
        (FailureClass.LOST, WorkState.QUEUED, 0, 1, 0),
        (FailureClass.RELEASED, WorkState.QUEUED, 0, 0, 0),
    ],
)
def test_a_first_failure_leads_to_the_state_of_its_class(failure_class, state, strikes, losses, pause_s):
    expected = Decision(state=state, strikes=strikes, losses=losses, pause_s=pause_s)
    assert decide(failure_class, FIRST, LIMITS) == expected


def test_every_class_leads_to_a_state():
    assert {decide(failure_class, FIRST, LIMITS).state for failure_class in FailureClass} == {
        WorkState.FAILED,
        WorkState.QUEUED,
    }


@pytest.mark.parametrize(
    ("failure_class", "before", "state"),
    [
        (FailureClass.CONVERTER, Counters(strikes=1), WorkState.QUEUED),
        (FailureClass.CONVERTER, Counters(strikes=2), WorkState.QUARANTINED),
        (FailureClass.LOST, Counters(losses=8), WorkState.QUEUED),
        (FailureClass.LOST, Counters(losses=9), WorkState.QUARANTINED),
        (FailureClass.LOST, Counters(strikes=2, losses=5), WorkState.QUEUED),
        (FailureClass.CONVERTER, Counters(strikes=0, losses=9), WorkState.QUEUED),
    ],
)
def test_three_strikes_or_ten_losses_end_in_quarantine(failure_class, before, state):
    assert decide(failure_class, before, LIMITS).state is state


def test_limits_can_be_set():
    assert decide(FailureClass.CONVERTER, FIRST, QueueSettings(max_strikes=1)).state is WorkState.QUARANTINED
    assert decide(FailureClass.LOST, FIRST, QueueSettings(max_losses=1)).state is WorkState.QUARANTINED


def test_the_second_device_failure_is_a_strike():
    strikes = device_failures = 0
    decisions = []
    while not decisions or decisions[-1].state is WorkState.QUEUED:
        counters = Counters(strikes=strikes, device_failures=device_failures)
        decisions.append(decide(FailureClass.DEVICE, counters, LIMITS))
        strikes, device_failures = decisions[-1].strikes, device_failures + 1
    assert [decision.strikes for decision in decisions] == [0, 1, 2, 3]
    assert decisions[-1].state is WorkState.QUARANTINED


def test_infrastructure_failures_pause_up_to_a_minute_and_are_always_retried():
    decisions = [
        decide(FailureClass.INFRASTRUCTURE, Counters(infrastructure_failures=count), LIMITS)
        for count in (0, 1, 2, 3, 4, 5, 6, 7, 1000, 10**9)
    ]
    assert [decision.pause_s for decision in decisions] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert {(d.state, d.strikes, d.losses) for d in decisions} == {(WorkState.QUEUED, 0, 0)}


@pytest.mark.parametrize("failure_class", [FailureClass.RELEASED, FailureClass.INFRASTRUCTURE])
def test_released_and_infrastructure_failures_leave_the_counters(failure_class):
    decision = decide(failure_class, Counters(strikes=2, losses=9), LIMITS)
    assert (decision.state, decision.strikes, decision.losses) == (WorkState.QUEUED, 2, 9)


def test_a_failure_names_class_stage_and_reason():
    failure = Failure(FailureClass.MODEL, Stage.EXPORT, "forward needs two inputs")
    assert str(failure) == "model failure at export: forward needs two inputs"
    assert failure.details == {}
