"""Runs `nnlite explain-parity`: `python -m nnlite_conversion.explain_parity`, a job in JSON on stdin.

Writes one line of JSON to stdout: the `ParityExplanation`, or `{"error": reason}`. Exit code 1 with an error.
"""

import os
import sys
import tempfile
from pathlib import Path

from pydantic import TypeAdapter

from nnlite.errors import Failure
from nnlite.settings import load_settings
from nnlite_conversion.isolation.conversion import explain
from nnlite_conversion.messages import Explanation
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.preload import preload


def main() -> int:
    """Explain the job on stdin; returns the exit code."""
    # Libraries may print to stdout; only the answer may go to the command's pipe.
    answer = os.dup(1)
    os.dup2(2, 1)
    job = TypeAdapter(ConversionJob).validate_json(sys.stdin.buffer.read())
    settings = load_settings().conversion
    preload(network=settings.network)
    with os.fdopen(answer, "wb") as pipe, tempfile.TemporaryDirectory(prefix="nnlite-explain-") as folder:
        try:
            explanation = explain(job, settings, workdir=Path(folder))
        except Failure as failure:
            pipe.write(TypeAdapter(dict[str, str]).dump_json({"error": failure.reason}))
            return 1
        pipe.write(TypeAdapter(Explanation).dump_json(explanation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
