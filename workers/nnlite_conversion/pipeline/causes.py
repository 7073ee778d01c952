"""Adds to parity that is off what makes PyTorch's own outputs differ from those of any artifact.

Runs in the forked child only.
"""

import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from nnlite.vocabulary import CALIBRATED, ParityState
from nnlite_conversion.culprit import CodeLine
from nnlite_conversion.outcome import ArtifactReport, ConversionJob
from nnlite_conversion.pipeline.loading.load import load
from nnlite_conversion.pipeline.lowering.rewrites.operators import single_precision
from nnlite_conversion.pipeline.repeating import why_outputs_vary
from nnlite_conversion.remedies import Explanation

#: A network that takes longer to be loaded and run again keeps its reason as it is: its artifacts are done.
_MAX_S = 60.0


def rounded_by_pytorch(report: ArtifactReport) -> bool:
    """Return whether PyTorch computes the network in another precision than the artifact."""
    return single_precision.__name__ in report.rewrites


def with_precision_of_pytorch(report: ArtifactReport) -> ArtifactReport:
    """Return a report whose parity, where it is off, says that PyTorch computes in another precision."""
    if not rounded_by_pytorch(report) or report.precision in CALIBRATED:
        return report
    cause = "PyTorch computes it in another precision than the artifact, which has 32 bits"
    return _with(
        report, Explanation(cause=cause, remedy="build the network in float32, or call .float() on it")
    )


def with_changes_of_pytorch(artifacts: Sequence[ArtifactReport], job: ConversionJob) -> list[ArtifactReport]:
    """Return reports whose parity, where it is off, says that PyTorch gives other outputs each time.

    The network is loaded once more, as its weights were released, and only where an artifact is off.
    """
    why = None
    if any(each.parity and each.parity.state is ParityState.OFF for each in artifacts):
        with suppress(BaseException), _interrupted_after(_MAX_S):  # as of code that cannot be imported twice
            why = why_outputs_vary(load(job, Path.cwd())[0], job.seed)
    return [_with(each, *why) if why else each for each in artifacts]


def with_changed_buffers(report: ArtifactReport, changing: Collection[str]) -> ArtifactReport:
    """Return a report whose parity, where it is unknown, says that the network changes buffers in each run.

    They are as before at each run that is compared, so that an output of them alone is always the same.
    """
    found = report.parity
    if found is None or found.state is not ParityState.UNKNOWN or not changing:
        return report
    name = min(changing).removeprefix("network.")
    cause = f"each run of the network changes its buffer {name}, and an artifact keeps nothing between runs"
    remedy = "take it as an input and return it as an output"
    return replace(report, parity=replace(found, reason=f"{found.reason}; {cause}: {remedy}"))


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the block, which runs code of the model's; in the process's main thread."""

    def interrupt(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _with(report: ArtifactReport, why: Explanation, line: CodeLine | None = None) -> ArtifactReport:
    found = report.parity
    if found is None or found.state is not ParityState.OFF or why.cause in str(found.reason):
        return report
    where = f", at {line}" if line else ""
    return replace(report, parity=replace(found, reason=f"{found.reason}; {why.cause}{where}: {why.remedy}"))
