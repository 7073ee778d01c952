"""Runs one conversion in a sandboxed child process: the worker's side, which never imports torch.

`convert` forks the child, supervises it, collects its files, and raises `Failure` with the evidence when it
does not succeed. Where no fork server forks the child, the calling process must have preloaded, have one
thread, and hold no connection that a fork would share.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

from nnlite.errors import Failure, FailureClass
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Stage
from nnlite_conversion.isolation import child, sandbox
from nnlite_conversion.isolation.answer import AnswerType, answer_of, evidence
from nnlite_conversion.isolation.collecting import as_failures, copy_file
from nnlite_conversion.isolation.precisions import combined, finished_part
from nnlite_conversion.isolation.process_registry import job_dir, registered
from nnlite_conversion.isolation.scratch import scratch_folder, with_files
from nnlite_conversion.isolation.supervision import TICK_S, ChildSupervision, Tick
from nnlite_conversion.messages import Report
from nnlite_conversion.outcome import ConversionJob, ConversionOutcome

#: The supervision of a child that has ended, and its private folder.
EndedChild = tuple[ChildSupervision, Path]


@contextmanager
def convert(
    job: ConversionJob,
    settings: ConversionSettings,
    *,
    workdir: Path,
    tick: Tick,
    fork: child.Fork | None = None,
) -> Iterator[ConversionOutcome]:
    """Convert one model in a forked process; a context manager, in which the artifacts' files exist.

    No process of the child's tree is alive when the context is entered or an error is raised. A precision
    that ends the child is refused; another child makes the precisions after it, from the same fp32 file.

    Args:
        job: the model and the precisions to convert it to.
        settings: limits and isolation.
        workdir: where the conversion's private folder is created, and removed at the end of the context. Its
            files are copies that belong to the caller: no process of the child's can change them any more.
            Children are registered here too, for `process_registry.kill_orphans`.
        tick: called with the current stage before the start and then about every `TICK_S`. While it returns
            False no child starts and the whole tree is stopped, and the time counts only towards the absolute
            limit. An exception ends the child and is passed on.
        fork: forks the child's tree; None: this process does, whose memory model code can then read.

    Raises:
        Failure: class `model` when the model cannot be converted, or its code crashes or hangs; `runtime`
            when LiteRT refuses its fp32 file and nothing else could be made; `converter` when the child
            crashed otherwise, or exceeded a limit, before there was an fp32 file; `infrastructure` when the
            disk is full, or model code would reach the network. Details: `exit`, `signal`, `limit`,
            `peak_rss_kb`, `timings_ns`, `stderr_tail`, and, from the child itself, `error_type`, `traceback`
            and `operator`.
    """
    left: ConversionJob | None = job
    parts: list[ConversionOutcome] = []
    with _children(Report.kind, settings, workdir, tick, fork) as (folder, run):
        while left is not None:
            with run(left) as (ended, scratch):
                part, left = finished_part(left, ended, scratch, folder)
            parts.append(part)
        yield combined(job, parts)


def answer(
    expected: type[AnswerType],
    job: ConversionJob,
    settings: ConversionSettings,
    *,
    workdir: Path,
    tick: Tick = lambda _: True,
    fork: child.Fork | None = None,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> AnswerType:
    """Ask something about one model of a forked process, and return its answer.

    Args:
        expected: what is asked. `Explanation`: how the artifact of the job's one precision compares with its
            network, operator by operator. `Preflight`: which operators cannot be converted; nothing is.
            `Evaluated`: how accurate the artifacts of the job's `evaluation` and their network are.
        job: the model.
        settings: limits and isolation.
        workdir, tick, fork: as for `convert`.
        files: which of the child's files are copied: name there, and target.

    Raises:
        Failure: as `convert`.
    """
    with _children(expected.kind, settings, workdir, tick, fork) as (_, run), run(job) as (ended, scratch):
        answered = answer_of(ended, expected)
        with as_failures(ended, workdir):
            for name, target in files.items():
                copy_file(scratch / name, target)
        return answered


@contextmanager
def _children(
    kind: str, settings: ConversionSettings, workdir: Path, tick: Tick, fork: child.Fork | None
) -> Iterator[tuple[Path, Callable[[ConversionJob], AbstractContextManager[EndedChild]]]]:
    """Wait until the first child of a job may start; yield a folder for all of them, and what runs one."""
    begun_ns = time.monotonic_ns()
    waited_ns = _wait_for_turn(settings, tick)
    uid = sandbox.unprivileged_uid() if settings.drop_privileges else None
    workdir.mkdir(parents=True, exist_ok=True)
    with job_dir(workdir) as folder:
        log, traces = folder / "child.log", folder / "traces.log"

        @contextmanager
        def run(job: ConversionJob) -> Iterator[EndedChild]:
            """Run a child to its end; its private folder exists inside the context."""
            nonlocal waited_ns
            with scratch_folder(folder, uid) as (scratch, owner):
                job = with_files(job, scratch, owner)
                for file in (log, traces):
                    file.unlink(missing_ok=True)  # of the child before: its crash is not this one's
                started = child.start(
                    partial(_run_pipeline, kind, job, settings),
                    isolation=child.Isolation(
                        uid=owner,
                        network=settings.network,
                        network_filter=settings.network_filter,
                        scratch=scratch,
                    ),
                    log=log,
                    traces=traces,
                    fork=fork,
                )
                supervision = ChildSupervision(
                    child=started,
                    log=log,
                    traces=traces,
                    settings=settings,
                    code=job.model.code,
                    waited_ns=waited_ns,
                    absolute_from_ns=begun_ns,
                )
                waited_ns = 0
                _supervise(supervision, workdir, tick)
                yield supervision, scratch

        yield folder, run


def _run_pipeline(kind: str, job: ConversionJob, settings: ConversionSettings, messages_fd: int) -> None:
    """Run the pipeline, in the sandboxed child: the only place where isolation imports it, and torch."""
    from nnlite_conversion.pipeline import body

    body.run(kind, job, settings, messages_fd)


def _supervise(supervision: ChildSupervision, workdir: Path, tick: Tick) -> None:
    """Wait until the child has ended; it has also ended when an exception is raised."""
    try:
        try:
            with registered(workdir, supervision.child.group):
                supervision.run(tick)
        finally:
            supervision.kill_tree()
    except Failure as failure:
        # `tick` has raised it; the evidence about the child is merely additional.
        failure.details.update(evidence(supervision))
        raise
    finally:
        supervision.child.close()


def _wait_for_turn(settings: ConversionSettings, tick: Tick) -> int:
    """Wait until `tick` allows a child to run, and return how long that took in nanoseconds."""
    waited_from_ns: int | None = None
    deadline = time.monotonic() + settings.absolute_timeout_s
    while not tick(Stage.LOAD):
        waited_from_ns = waited_from_ns or time.monotonic_ns()
        if time.monotonic() > deadline:
            reason = f"held for {settings.absolute_timeout_s:g} s before its start"
            details = {"limit": "absolute_timeout_s"}
            raise Failure(FailureClass.CONVERTER, Stage.LOAD, reason, details)
        time.sleep(TICK_S)
    return time.monotonic_ns() - waited_from_ns if waited_from_ns else 0
