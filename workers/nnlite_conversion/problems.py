"""Problems of a network's operators that are known without converting it: what a pre-flight reports."""

from dataclasses import dataclass

from nnlite.errors import Failure
from nnlite.vocabulary import Stage
from nnlite_conversion.culprit import Culprit
from nnlite_conversion.remedies import Explanation


@dataclass(frozen=True, kw_only=True)
class OperatorProblem:
    """What keeps one operator, or the whole network, from a right artifact."""

    #: As the graph calls it, such as `aten.nonzero.default`; None: the problem is not one operator's.
    operator: str | None
    #: As the model's code calls it; None: not known.
    called: str | None
    #: File, line and source line of the model's code; None: not known.
    line: str | None
    #: The stage of a conversion that would fail or be wrong.
    stage: Stage
    cause: str
    remedy: str = ""
    #: How often it occurs on this line.
    count: int = 1


def problem(culprit: Culprit, explanation: Explanation, stage: Stage) -> OperatorProblem:
    """Return the problem of an operator."""
    return OperatorProblem(
        operator=culprit.operator,
        called=culprit.called,
        line=None if culprit.line is None else str(culprit.line),
        stage=stage,
        cause=explanation.cause,
        remedy=explanation.remedy,
    )


def as_problem(failure: Failure) -> OperatorProblem:
    """Return the problem that a model's failure is."""
    details = failure.details
    return OperatorProblem(
        operator=details.get("operator"),
        called=None,
        line=details.get("line"),
        stage=failure.stage,
        cause=details.get("cause", failure.reason),
        remedy=details.get("remedy", ""),
    )
