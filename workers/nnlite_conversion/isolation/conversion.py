"""One conversion in a process of its own, from the worker's point of view.

`convert` forks, watches, collects, and raises `Failure` with all that is known
of a child that did not make it. The calling process must have preloaded, have
one thread, and hold no connection that a fork would share.
"""

import hashlib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnlite.errors import Failure, FailureClass
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import ModelFormat, Stage
from nnlite_conversion import explanations
from nnlite_conversion.isolation import child, sandbox
from nnlite_conversion.isolation.process_registry import kill_leftovers, noted, own_folder
from nnlite_conversion.isolation.scratch import scratch_folder, with_files
from nnlite_conversion.isolation.supervision import Watch
from nnlite_conversion.messages import (
    ArtifactReport,
    Refusal,
    Report,
    StageStarted,
    artifact_name,
    output_name,
    send,
)
from nnlite_conversion.outcome import ConversionJob, ConversionOutcome, ConvertedArtifact, RefusedPrecision

__all__ = [
    "ConversionJob",
    "ConversionOutcome",
    "ConvertedArtifact",
    "convert",
    "kill_leftovers",
]


@contextmanager
def convert(
    job: ConversionJob,
    settings: ConversionSettings,
    *,
    workdir: Path,
    ledger: Path,
    tick: Callable[[Stage], bool],
    tick_s: float = 0.1,
) -> Iterator[ConversionOutcome]:
    """Convert one model in a forked process; a context, in which the artifacts' files exist.

    Nothing that the child started is alive when the context is entered or an error is raised.

    Args:
        job: the model and what to make of it.
        settings: limits and isolation.
        workdir: where the conversion's private folder is made, and removed at the end of the
            context. Its files are copies that belong to the caller: no process of the child's
            can change them any more.
        ledger: folder of notes for `kill_leftovers`, one file per running child.
        tick: called with the current stage before the start and then about every `tick_s`;
            False holds the child (all of it is stopped, and the time counts only towards the
            absolute limit) until it returns True. What it raises ends the child and is passed on.
        tick_s: seconds between two calls, and between two looks at time and memory.

    Raises:
        Failure: class `model` when the model cannot, `converter` when the child crashed or
            exceeded a limit, `infrastructure` when the disk is full. Details: `exit`, `signal`,
            `limit`, `peak_rss_kb`, `timings_ns`, `stderr_tail`, and, from the child itself,
            `error_type`, `traceback` and `operator`.
    """
    waited_ns = _wait_for_turn(settings, tick, tick_s)
    uid = sandbox.unprivileged_uid() if settings.drop_privileges else None
    workdir.mkdir(parents=True, exist_ok=True)
    with own_folder(workdir) as folder:
        with scratch_folder(folder, uid) as (scratch, owner):
            job = with_files(job, scratch, owner)
            isolation = child.Isolation(uid=owner, network=settings.network, scratch=scratch)
            started = child.start(
                lambda descriptor: _run(job, settings, descriptor),
                isolation=isolation,
                log=folder / "child.log",
            )
            watch = Watch(child=started, log=folder / "child.log", settings=settings, waited_ns=waited_ns)
            _supervise(watch, ledger, tick, tick_s)
            outcome = _collected(_answer(watch), watch, scratch, folder)
        yield outcome


def _supervise(watch: Watch, ledger: Path, tick: Callable[[Stage], bool], tick_s: float) -> None:
    """Return when the child has ended by itself; whatever is raised, it has ended too."""
    try:
        try:
            with noted(ledger, watch.child.group):
                watch.run(tick, tick_s)
        finally:
            watch.end()
    except Failure as failure:
        # `tick` may raise one as well: evidence about the child does it no harm.
        failure.details.update(_evidence(watch))
        raise
    finally:
        watch.child.close()


def _run(job: ConversionJob, settings: ConversionSettings, messages_fd: int) -> None:
    """Convert in the child and send what came of it; the outermost frame of all model code."""
    from nnlite_conversion.pipeline import prebuilt as ready
    from nnlite_conversion.pipeline import stages

    refusal: Refusal
    work = ready.check_ready if job.model.model_format is ModelFormat.PREBUILT else stages.convert_model
    try:
        report = work(job, settings, lambda stage: send(messages_fd, StageStarted(stage=stage)))
        send(messages_fd, report)
        return
    except Failure as failure:
        refusal = Refusal.model_validate(
            {"failure_class": failure.failure_class, "reason": failure.reason, "details": failure.details}
        )
    except MemoryError as error:
        refusal = Refusal(
            failure_class=FailureClass.CONVERTER,
            reason="the child ran out of memory",
            details=explanations.details(error),
        )
    except Exception as error:  # noqa: BLE001  (the child's outermost frame: nothing may be lost)
        full = explanations.is_full_disk(error)
        refusal = Refusal(
            failure_class=FailureClass.INFRASTRUCTURE if full else FailureClass.CONVERTER,
            reason=(
                f"no space left in {Path.cwd()}; free some and the work goes on"
                if full
                else f"the converter itself failed: {explanations.summary(error)}"
            ),
            details=explanations.details(error),
        )
    send(messages_fd, refusal)


def _wait_for_turn(settings: ConversionSettings, tick: Callable[[Stage], bool], tick_s: float) -> int:
    """Return how long it was until `tick` allows a child to run; one that may not is not even started."""
    waited_from_ns: int | None = None
    deadline = time.monotonic() + settings.absolute_timeout_s
    while not tick(Stage.LOAD):
        waited_from_ns = waited_from_ns or time.monotonic_ns()
        if time.monotonic() > deadline:
            reason = f"held for {settings.absolute_timeout_s:g} s before its start"
            details = {"limit": "absolute_timeout_s"}
            raise Failure(FailureClass.CONVERTER, Stage.LOAD, reason, details)
        time.sleep(tick_s)
    return time.monotonic_ns() - waited_from_ns if waited_from_ns else 0


def _answer(watch: Watch) -> Report:
    """Return the child's report, or raise what its end means."""
    answer, exit_status = watch.inbox.answer, watch.exit_status
    if watch.inbox.garbage is not None:
        reason = "its result pipe carried what is no message"
        raise _failure(watch, reason, garbage=watch.inbox.garbage)
    if isinstance(answer, Refusal):
        raise Failure(
            answer.failure_class,
            watch.inbox.stage,
            answer.reason,
            {**answer.details, **_evidence(watch)},
        )
    if exit_status is None:
        raise _failure(watch, "the conversion's processes were killed from outside")
    if exit_status.signal is not None:
        name = (
            signal.Signals(exit_status.signal).name
            if exit_status.signal in signal.valid_signals()
            else exit_status.signal
        )
        hint = ", as the kernel does when memory runs out" if exit_status.signal == signal.SIGKILL else ""
        raise _failure(watch, f"the child was killed by {name}{hint}")
    if answer is None or exit_status.exit != 0:
        raise _failure(watch, f"the child ended with exit status {exit_status.exit} and without a result")
    return answer


def _failure(watch: Watch, reason: str, **details: Any) -> Failure:
    return Failure(FailureClass.CONVERTER, watch.inbox.stage, reason, {**details, **_evidence(watch)})


def _evidence(watch: Watch) -> dict[str, Any]:
    return {
        "exit": watch.exit_status.exit if watch.exit_status else None,
        "signal": watch.exit_status.signal if watch.exit_status else None,
        "peak_rss_kb": watch.peak_rss_kb,
        "timings_ns": {str(stage): ns for stage, ns in watch.timings_ns.items()},
        "stderr_tail": watch.stderr_tail(),
    }


def _collected(report: Report, watch: Watch, scratch: Path, workdir: Path) -> ConversionOutcome:
    """Take the files out of the child's folder into the caller's, and read from them what they are."""
    try:
        artifacts = tuple(_taken(artifact, scratch, workdir) for artifact in report.artifacts)
    except _BadFile as error:
        raise _failure(watch, str(error)) from error
    except OSError as error:
        if not explanations.is_full_disk(error):
            raise
        reason = f"no space left in {workdir}; free some and the work goes on"
        raise Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, reason, _evidence(watch)) from error
    return ConversionOutcome(
        artifacts=artifacts,
        refused=tuple(RefusedPrecision(**dict(refusal)) for refusal in report.refused),
        skipped=report.skipped,
        parameters=report.parameters,
        input_shape=report.input_shape,
        output_shapes=report.output_shapes,
        state_dict_sha256=report.state_dict_sha256,
        accelerated=report.accelerated,
        timings_ns=watch.timings_ns,
        peak_rss_kb=watch.peak_rss_kb,
    )


class _BadFile(Exception):
    """A file that the child left is not what it said."""


def _taken(artifact: ArtifactReport, scratch: Path, workdir: Path) -> ConvertedArtifact:
    name = artifact_name(artifact.precision)
    sha256, size_bytes = _take(scratch / name, workdir / name)
    if size_bytes != artifact.size_bytes:
        raise _BadFile(f"{name} has {size_bytes} bytes, but the child wrote {artifact.size_bytes}: truncated")
    outputs = []
    for index in range(len(artifact.outputs)):
        output = output_name(artifact.precision, index)
        _take(scratch / output, workdir / output)
        outputs.append(workdir / output)
    return ConvertedArtifact(
        precision=artifact.precision,
        path=workdir / name,
        sha256=sha256,
        size_bytes=size_bytes,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        parity=artifact.parity,
        calibrated_on=artifact.calibrated_on,
        rewrites=artifact.rewrites,
        operators=artifact.operators,
        reference_outputs=tuple(outputs),
    )


def _take(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file that untrusted code made; return its SHA-256 and its size.

    A copy belongs to the caller and cannot be a link to anything.
    """
    digest, size_bytes = hashlib.sha256(), 0
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _BadFile(f"{source.name} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as made, target.open("wb") as kept:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _BadFile(f"{source.name} is not a regular file")
        while piece := made.read(1 << 20):
            digest.update(piece)
            size_bytes += len(piece)
            kept.write(piece)
    return digest.hexdigest(), size_bytes
