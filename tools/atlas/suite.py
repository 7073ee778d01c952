"""Runs the operator suite: cases in batches, in forked children; what is done is kept, so that it resumes.

A child converts many cases, because its first conversion takes a second longer than the others. If it dies or
hangs, the case that it was at is converted once more as workers do, in a sandbox of its own.
"""

import hashlib
import importlib
import os
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from atlas.case import Case
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import canonical_json
from nnlite.errors import Failure
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Precision
from nnlite_conversion.cache_key import QUANTIZING, converter_tag
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.messages import Inbox, Refusal, Report
from nnlite_conversion.outcome import ConversionJob

#: Cases that one child converts.
BATCH = 25
#: A child that says nothing for so long hangs, seconds.
SILENCE_S = 180.0
SAMPLES = 8
SETTINGS = ConversionSettings(timeout_s=SILENCE_S)

Result = dict[str, Any]


def job_of(case: Case, precisions: Sequence[Precision]) -> ConversionJob:
    """Return the conversion of a case."""
    calibration = Calibration(kind=CalibrationKind.NOISE, samples=SAMPLES)
    return ConversionJob(
        model=case.spec(), precisions=tuple(precisions), max_parameters=10**6, calibration=calibration
    )


def key_of(case: Case, precisions: Sequence[Precision]) -> str:
    """Return what the result of a case depends on, but for rewrites of what could not be converted before."""
    parts = {"code": case.code, "inputs": case.inputs, "precisions": precisions}
    return hashlib.sha256(
        canonical_json(parts | {"by": converter_tag(), "quantizing": QUANTIZING})
    ).hexdigest()


def run_suite(
    cases: Sequence[Case],
    precisions: Sequence[Precision],
    *,
    jobs: int = 1,
    on_result: Callable[[Result], None] = lambda result: None,
) -> None:
    """Convert cases and report each result as soon as it is there.

    The process must have preloaded, and have one thread.

    Args:
        jobs: children at a time.
        on_result: called with the result of each case, in no order.
    """
    importlib.import_module("atlas.judging")  # here, and not in every child; it needs what preloading sets
    waiting = [list(cases[start : start + BATCH]) for start in range(0, len(cases), BATCH)]
    running: list[_Child] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(_started(waiting.pop(0), precisions))
        ready, _, _ = select.select([child.pipe for child in running], [], [], 1.0)
        for child in list(running):
            if child.pipe in ready and child.read(on_result):
                continue
            if child.pipe not in ready and time.monotonic() - child.heard_s < SILENCE_S:
                continue
            running.remove(child)
            child.end()
            if child.left:
                case, *others = child.left
                on_result(_isolated(case, precisions))
                waiting[:0] = [others] if others else []


@dataclass(kw_only=True)
class _Child:
    """A child that converts a batch."""

    pid: int
    pipe: int
    #: Cases without a result, in the order of conversion.
    left: list[Case]
    heard_s: float = field(default_factory=time.monotonic)
    _pending: bytes = b""

    def read(self, on_result: Callable[[Result], None]) -> bool:
        """Report what has arrived; return whether more may."""
        chunk = os.read(self.pipe, 1 << 16)
        self.heard_s = time.monotonic()
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        for line in lines:
            result = orjson.loads(line)
            self.left = [case for case in self.left if case.name != result["case"]]
            on_result(result)
        return bool(chunk)

    def end(self) -> None:
        """Kill it, if it has not ended, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)


def _started(batch: list[Case], precisions: Sequence[Precision]) -> _Child:
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(ours)
            _convert_batch(batch, precisions, theirs)
            status = 0
        except BaseException:  # noqa: BLE001  (nothing may return into the parent's code)
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(theirs)
    return _Child(pid=pid, pipe=ours, left=batch)


def _convert_batch(batch: Iterable[Case], precisions: Sequence[Precision], pipe: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    warnings.simplefilter("ignore")  # as in a conversion
    for case in batch:
        with tempfile.TemporaryDirectory(prefix="nnlite-atlas-") as folder:
            os.chdir(folder)
            line = orjson.dumps(_converted(case, precisions)) + b"\n"
            os.chdir("/")
        while line:
            line = line[os.write(pipe, line) :]


def _converted(case: Case, precisions: Sequence[Precision]) -> Result:
    """Convert a case in this process and in the current folder."""
    from atlas.judging import differences, judged
    from nnlite_conversion.pipeline import body

    job, folder = job_of(case, precisions), Path.cwd()
    with tempfile.TemporaryFile() as messages:
        body.run(Report.kind, job, SETTINGS, messages.fileno())
        messages.seek(0)
        inbox = Inbox(descriptor=messages.fileno())
        inbox.receive()
    answer = inbox.answer
    if not isinstance(answer, Report | Refusal):
        raise RuntimeError(f"{case.name}: {inbox.garbage or 'no answer'}")  # noqa: TRY004
    differing = differences(job, answer.artifacts, folder) if isinstance(answer, Report) else {}
    judgements = judged(answer, precisions, differing)
    return result_of(case, precisions, {each: judgement.as_dict() for each, judgement in judgements.items()})


def _isolated(case: Case, precisions: Sequence[Precision]) -> Result:
    """Convert a case as a conversion worker does."""
    from atlas.judging import Judgement, of_report

    job = job_of(case, precisions)
    with tempfile.TemporaryDirectory(prefix="nnlite-atlas-") as folder:
        try:
            with convert(job, SETTINGS, workdir=Path(folder), tick=lambda stage: True) as outcome:
                judgements = of_report(outcome, outcome.artifacts, {})
        except Failure as failure:
            refusal = Judgement(state="refused", reason=failure.reason, failure_class=failure.failure_class)
            judgements = dict.fromkeys(precisions, refusal)
    return result_of(case, precisions, {each: judgement.as_dict() for each, judgement in judgements.items()})


def result_of(
    case: Case, precisions: Sequence[Precision], judgements: dict[Precision, dict[str, Any]]
) -> Result:
    """Return the result of a case as JSON values."""
    return {
        "case": case.name,
        "key": key_of(case, precisions),
        "operator": case.operator,
        "variant": case.variant,
        "precisions": {str(precision): judgements[precision] for precision in precisions},
    }


def kept_results(file: Path) -> Iterator[Result]:
    """Yield the results in a file of JSON lines; the last one may be cut off."""
    if file.exists():
        for line in file.read_bytes().split(b"\n"):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
