"""What a child's messages and exit status mean: its answer, or the failure with the evidence."""

import signal
from typing import Any, Final, TypeVar

from nnlite.errors import Failure, FailureClass
from nnlite.host.child_process import signal_name
from nnlite.settings import PREFIX
from nnlite.vocabulary import Stage
from nnlite_conversion.culprit import CodeLine, Culprit, crashed_at, hung_at
from nnlite_conversion.explanations import sentence
from nnlite_conversion.isolation.supervision import ChildSupervision
from nnlite_conversion.messages import Evaluated, Preflight, Refusal, Report
from nnlite_conversion.messages import Explanation as Explained
from nnlite_conversion.remedies import Explanation

AnswerType = TypeVar("AnswerType", Report, Explained, Preflight, Evaluated)

#: Signals of a crash, not of the machine.
_CRASHES: Final = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
#: Stages that run the model's own code.
_OF_MODEL: Final = (Stage.LOAD, Stage.EXPORT, Stage.CALIBRATE)


def answer_of(supervision: ChildSupervision, expected: type[AnswerType]) -> AnswerType:
    """Return the child's answer, or raise the failure that its messages and exit status mean."""
    answer, exit_status = supervision.inbox.answer, supervision.exit_status
    if supervision.exceeded is not None:
        supervision.exceeded.details.update(evidence(supervision))
        raise hang_of_model(supervision, supervision.exceeded) or supervision.exceeded
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
        if (crash := crash_of_model(supervision)) is not None:
            raise crash
        hint = ", as the kernel does when memory runs out" if exit_status.signal == signal.SIGKILL else ""
        raise failure_of(supervision, f"the child was killed by {signal_name(exit_status.signal)}{hint}")
    if answer is None or exit_status.exit != 0:
        raise failure_of(
            supervision, f"the child ended with exit status {exit_status.exit} and without a result"
        )
    if not isinstance(answer, expected):
        raise failure_of(supervision, "its result pipe carried an invalid message", garbage=answer.kind)
    return answer


def crash_of_model(supervision: ChildSupervision) -> Failure | None:
    """Return the failure of a model whose own code has crashed the child; None: something else ended it."""
    number = supervision.exit_status and supervision.exit_status.signal
    stage = supervision.inbox.stage
    # What crashes once a precision or format has begun costs no more than that.
    if number not in _CRASHES or stage not in _OF_MODEL or supervision.inbox.begun is not None:
        return None
    line = crashed_at(supervision.stacks(), supervision.code)
    if line is None:
        return None
    while_doing = " on a calibration sample" if stage is Stage.CALIBRATE else ""
    reason = Explanation(
        cause=f"the model's code crashes its process{while_doing} ({signal_name(number)})",
        remedy="run that line in a Python process of its own, which it must not end",
    )
    return _of_line(stage, reason, line, evidence(supervision))


def hang_of_model(supervision: ChildSupervision, exceeded: Failure) -> Failure | None:
    """Return the failure of a model whose own code did not end in time; None: that was something else.

    Only while it is loaded and run for the first time: how long everything else takes depends on the machine.
    """
    if exceeded.stage is not Stage.LOAD or exceeded.details["limit"] != "timeout_s":
        return None
    line = hung_at(supervision.stacks(), supervision.code)
    if line is None:
        return None
    reason = Explanation(
        cause=f"the model's code did not end within {supervision.settings.timeout_s:g} s",
        remedy="run that line in a Python process of its own; if it does end, convert with a larger "
        f"{PREFIX}CONVERSION__TIMEOUT_S",
    )
    return _of_line(exceeded.stage, reason, line, exceeded.details)


def _of_line(stage: Stage, reason: Explanation, line: CodeLine, details: dict[str, Any]) -> Failure:
    kept = {"cause": reason.cause, "remedy": reason.remedy, "line": str(line), **details}
    return Failure(FailureClass.MODEL, stage, sentence(reason, Culprit(line=line)), kept)


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
