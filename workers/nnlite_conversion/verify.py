"""Checks the stored parity of artifacts for `nnlite verify`: `python -m nnlite_conversion.verify`.

Reads a `Question` in JSON from each line of stdin, and writes its differences as a line to stdout.
"""

import sys
from typing import Any

from pydantic import BaseModel, TypeAdapter

from nnlite.reports.differences import Difference
from nnlite.vocabulary import ParityState, Precision
from nnlite_conversion.pipeline.verifying.stored import contradictions


class Question(BaseModel):
    """The columns of an artifact that are about its parity."""

    precision: Precision
    parity_state: ParityState
    parity: dict[str, Any] | None


def main() -> None:
    """Answer every line of stdin."""
    answers = TypeAdapter(dict[str, list[Difference]])
    for line in sys.stdin.buffer:
        try:
            asked = Question.model_validate_json(line)
            found = [*contradictions(asked.precision, asked.parity_state, asked.parity)]
        except (ValueError, TypeError) as error:
            found = [Difference.unreadable("artifact.parity", error)]
        sys.stdout.buffer.write(answers.dump_json({"differences": found}) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
