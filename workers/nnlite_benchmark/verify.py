"""Derives stored measurements again for `nnlite verify`: `python -m nnlite_benchmark.verify`.

Reads a `Question` in JSON from each line of stdin, and writes its `Derivation` as a line to stdout.
"""

import sys

from pydantic import BaseModel, ConfigDict, TypeAdapter

from nnlite.reports.differences import Difference
from nnlite.reports.schema import MeasurementReport
from nnlite_benchmark.protocol.analysis.derivation import Derivation, OutputFiles, derive


class Question(BaseModel):
    """A measurement to derive, and the files of its outputs."""

    model_config = ConfigDict(extra="forbid")

    report: MeasurementReport
    files: OutputFiles | None = None


def main() -> None:
    """Answer every line of stdin."""
    answers = TypeAdapter(Derivation)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(answers.dump_json(derivation_of(line)) + b"\n")
        sys.stdout.buffer.flush()


def derivation_of(line: bytes) -> Derivation:
    """Return the derivation of a question in JSON; what cannot be read is a difference too."""
    try:
        question = Question.model_validate_json(line)
        return derive(question.report, question.files)
    except (ValueError, TypeError, OSError) as error:
        return Derivation(differences=(Difference.unreadable("report", error),))


if __name__ == "__main__":
    main()
