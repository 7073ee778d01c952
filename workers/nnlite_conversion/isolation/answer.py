"""What a child's messages and exit status mean: its answer, or the failure with the evidence."""

import signal
from typing import Any, TypeVar

from nnlite.errors import Failure, FailureClass
from nnlite.host.child_process import signal_name
from nnlite_conversion.isolation.supervision import ChildSupervision
from nnlite_conversion.messages import Evaluated, Explanation, Preflight, Refusal, Report

AnswerType = TypeVar("AnswerType", Report, Explanation, Preflight, Evaluated)


def answer_of(supervision: ChildSupervision, expected: type[AnswerType]) -> AnswerType:
    """Return the child's answer, or raise the failure that its messages and exit status mean."""
    answer, exit_status = supervision.inbox.answer, supervision.exit_status
    if supervision.exceeded is not None:
        supervision.exceeded.details.update(evidence(supervision))
        raise supervision.exceeded
    if supervision.inbox.garbage is not None:
        reason = "its result pipe carried an invalid message"
        raise failure_of(supervision, reason, garbage=supervision.inbox.garbage)
    if isinstance(answer, Refusal):
        raise Failure(
            answer.failure_class,
            supervision.inbox.stage,
            answer.reason,
            {**answer.details, **evidence(supervision)},
        )
    if exit_status is None:
        raise failure_of(supervision, "the conversion's processes were killed from outside")
    if exit_status.signal is not None:
        hint = ", as the kernel does when memory runs out" if exit_status.signal == signal.SIGKILL else ""
        raise failure_of(supervision, f"the child was killed by {signal_name(exit_status.signal)}{hint}")
    if answer is None or exit_status.exit != 0:
        raise failure_of(
            supervision, f"the child ended with exit status {exit_status.exit} and without a result"
        )
    if not isinstance(answer, expected):
        raise failure_of(supervision, "its result pipe carried an invalid message", garbage=answer.kind)
    return answer


def failure_of(supervision: ChildSupervision, reason: str, **details: Any) -> Failure:
    """Return a failure of class `converter` with the evidence about the child."""
    return Failure(
        FailureClass.CONVERTER, supervision.inbox.stage, reason, {**details, **evidence(supervision)}
    )


def evidence(supervision: ChildSupervision) -> dict[str, Any]:
    """Return what is known of a child's end, for the details of a failure."""
    return {
        "exit": supervision.exit_status.exit if supervision.exit_status else None,
        "signal": supervision.exit_status.signal if supervision.exit_status else None,
        "peak_rss_kb": supervision.peak_rss_kb,
        "timings_ns": {str(stage): ns for stage, ns in supervision.timings_ns.items()},
        "stderr_tail": supervision.stderr_tail(),
    }
