"""Lets a crash, a hang or a lack of memory in one precision cost that precision only.

A child says when it begins a precision, and what it has finished by then. If it ends in one, that precision
is refused, what is finished is collected, and another child makes the others from the fp32 file.
"""

import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnlite.backends import HOST_RUNTIMES, RUNTIME_OF_FORMAT
from nnlite.errors import Failure, FailureClass
from nnlite.host.child_process import signal_name
from nnlite.vocabulary import ArtifactFormat, Backend, ModelFormat, ParityState, Precision, Stage
from nnlite_conversion.isolation.answer import answer_of, failure_of
from nnlite_conversion.isolation.collecting import as_failures, collect, copy_file
from nnlite_conversion.isolation.supervision import ChildSupervision
from nnlite_conversion.messages import PrecisionBegun, Report, artifact_name
from nnlite_conversion.outcome import (
    ArtifactReport,
    ConversionJob,
    ConversionOutcome,
    KnownArtifact,
    Parity,
    RefusedPrecision,
    RefusingClass,
)


def finished_part(
    job: ConversionJob, ended: ChildSupervision, scratch: Path, folder: Path
) -> tuple[ConversionOutcome, ConversionJob | None]:
    """Collect what a child has finished of its job; return it, and the job that is left, if any.

    Args:
        job: of the child.
        ended: the child's supervision.
        scratch: its private folder.
        folder: where the files are copied to.

    Raises:
        Failure: the child ended before the fp32 file was made, or for a reason that concerns all precisions.
    """
    try:
        report, left = answer_of(ended, Report), None
    except Failure as failure:
        begun = ended.inbox.begun
        if begun is None and job.no_samples is None and _crashed_on_sample(failure):
            # What needs no sample is made by another child, from the network again.
            nothing = ConversionOutcome(
                input_shape=(), artifacts=(), timings_ns=ended.timings_ns, peak_rss_kb=ended.peak_rss_kb
            )
            return nothing, replace(job, no_samples=failure.reason)
        if begun is None or not _is_asked(begun, job) or not _is_of_precision(failure, ended):
            raise
        refused, left = _refused(begun, failure, ended), _job_left(job, begun, ended, scratch, folder)
        report = replace(begun.done, refused=(*begun.done.refused, refused))
        if left is not None and failure.details.get("limit") == "absolute_timeout_s":
            # The time is over for the others too.
            others = [
                *(replace(refused, precision=each) for each in left.precisions),
                *(replace(refused, precision=Precision.FP32, format=each) for each in left.formats),
            ]
            report, left = replace(report, refused=(*report.refused, *others)), None
    _require_asked(report, job, ended)
    return collect(report, ended, scratch, folder), left


def combined(job: ConversionJob, parts: Sequence[ConversionOutcome]) -> ConversionOutcome:
    """Return the outcome of a job from those of its children, in their order.

    Raises:
        Failure: nothing was made, because what the precisions are made from was refused.
    """
    refused = tuple(each for part in parts for each in part.refused)
    timings_ns: Counter[Stage] = Counter()
    for part in parts:
        timings_ns.update(part.timings_ns)
    outcome = replace(
        parts[-1],
        artifacts=tuple(artifact for part in parts for artifact in part.artifacts),
        refused=refused,
        timings_ns=dict(timings_ns),
        peak_rss_kb=max(part.peak_rss_kb for part in parts),
    )
    if not outcome.artifacts:
        for each in refused:
            of_all = each.precision is Precision.FP32 and each.format is ArtifactFormat.TFLITE
            if of_all or job.model.model_format is ModelFormat.PREBUILT:
                measured = {
                    "peak_rss_kb": outcome.peak_rss_kb,
                    "timings_ns": {str(stage): ns for stage, ns in outcome.timings_ns.items()},
                }
                raise Failure(each.failure_class, each.stage, each.reason, {**measured, **each.details})
    return outcome


def _is_asked(each: PrecisionBegun | RefusedPrecision | ArtifactReport, job: ConversionJob) -> bool:
    if each.format is not ArtifactFormat.TFLITE:
        return each.format in job.formats
    # The precision of a pre-built file is not known before it is read.
    return job.model.model_format is ModelFormat.PREBUILT or each.precision in job.precisions


def _require_asked(report: Report, job: ConversionJob, ended: ChildSupervision) -> None:
    """Raise for a report, which model code can forge, of what the job does not ask for."""
    reported: list[ArtifactReport | RefusedPrecision] = [*report.artifacts, *report.refused]
    for each in reported:
        if not _is_asked(each, job):
            reason = "its result pipe carried an invalid message"
            garbage = f"{each.precision} as {each.format} was not asked for"
            raise failure_of(ended, reason, garbage=garbage)


def _crashed_on_sample(failure: Failure) -> bool:
    """Whether the model's own code has crashed its process while it ran on samples."""
    by_model = failure.failure_class is FailureClass.MODEL and failure.stage is Stage.CALIBRATE
    return by_model and failure.details.get("signal") is not None


def _is_of_precision(failure: Failure, ended: ChildSupervision) -> bool:
    """Whether the child ended because of the precision that it had begun, and not from outside."""
    known = "limit" in failure.details or ended.exit_status is not None
    return failure.failure_class is FailureClass.CONVERTER and known and "garbage" not in failure.details


def _refused(begun: PrecisionBegun, failure: Failure, ended: ChildSupervision) -> RefusedPrecision:
    number = None if "limit" in failure.details or not ended.exit_status else ended.exit_status.signal
    reason = failure.reason
    failure_class: RefusingClass = FailureClass.CONVERTER
    if number is not None and number != signal.SIGKILL:
        if failure.stage is Stage.PARITY:
            failure_class = FailureClass.RUNTIME
            runtime = RUNTIME_OF_FORMAT.get(begun.format, HOST_RUNTIMES[Backend.CPU])
            reason = f"{runtime.name} on the host crashes on the artifact ({signal_name(number)})"
        else:
            tflite = begun.format is ArtifactFormat.TFLITE
            what = "quantizer" if tflite else f"export to .{begun.format}"
            reason = f"the {what} crashes ({signal_name(number)})"
    return RefusedPrecision(
        precision=begun.precision,
        format=begun.format,
        stage=failure.stage,
        reason=reason,
        failure_class=failure_class,
        details={**failure.details, "cause": reason},
    )


def _job_left(
    job: ConversionJob, begun: PrecisionBegun, ended: ChildSupervision, scratch: Path, folder: Path
) -> ConversionJob | None:
    """Return the job of what comes after that which ended the child; None: there is nothing."""
    if job.model.model_format is ModelFormat.PREBUILT:
        return None
    if begun.format is not ArtifactFormat.TFLITE:
        formats = job.formats[job.formats.index(begun.format) + 1 :]
        return replace(job, precisions=(), formats=formats) if formats else None
    left = job.precisions[job.precisions.index(begun.precision) + 1 :]
    if not left and not job.formats:
        return None
    if job.fp32 is not None or not left:
        return replace(job, precisions=left)
    fp32 = folder / "fp32_for_others.tflite"
    with as_failures(ended, folder):
        copy_file(scratch / artifact_name(Precision.FP32), fp32)
    known = KnownArtifact(
        path=fp32,
        rewrites=begun.rewrites,
        graph_operators=begun.graph_operators,
        parity=next(
            (each.parity for each in begun.done.artifacts if each.precision is Precision.FP32),
            Parity(state=ParityState.UNKNOWN, reason="it may be what crashed"),
        ),
    )
    return replace(job, precisions=left, fp32=known)
