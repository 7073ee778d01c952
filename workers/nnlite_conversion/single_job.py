"""Runs one task for a command: `python -m nnlite_conversion.single_job TASK`, a job in JSON on stdin.

`explain` writes an `Explanation` to stdout, `preflight` a `Preflight`, as one line of JSON. An
error is `{"error": reason}` and exit code 1.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nnlite.errors import Failure, FailureClass
from nnlite.settings import load_settings
from nnlite.settings.groups import ConversionSettings
from nnlite_conversion.isolation.conversion import answer
from nnlite_conversion.isolation.process_registry import job_dir
from nnlite_conversion.messages import Explanation, Preflight
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.preload import preload
from nnlite_conversion.remedies import as_problem


def main(task: str) -> int:
    """Run the job on stdin; returns the exit code."""
    # Libraries may print to stdout; only the answer may go to the command's pipe.
    command = os.dup(1)
    os.dup2(2, 1)
    job = TypeAdapter(ConversionJob).validate_json(sys.stdin.buffer.read())
    settings = load_settings().conversion
    preload(network=settings.network)
    # A folder of this name that nobody has locked is removed by the next worker that starts.
    with os.fdopen(command, "wb") as pipe, job_dir(Path(tempfile.gettempdir())) as folder:
        try:
            if task == "explain":
                result: Any = answer(Explanation, job, settings, workdir=folder)
            else:
                result = _preflight(job, settings, workdir=folder)
        except Failure as failure:
            pipe.write(TypeAdapter(dict[str, str]).dump_json({"error": failure.reason}))
            return 1
        pipe.write(TypeAdapter(Explanation | Preflight).dump_json(result))
    return 0


def _preflight(job: ConversionJob, settings: ConversionSettings, *, workdir: Path) -> Any:
    try:
        return answer(Preflight, job, settings, workdir=workdir)
    except Failure as failure:
        if failure.failure_class is not FailureClass.MODEL:
            raise
        return Preflight(problems=(as_problem(failure),))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
