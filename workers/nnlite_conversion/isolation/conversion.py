"""Runs one conversion in a sandboxed child process: the worker's side, which never imports torch.

`convert` forks the child, supervises it, collects its files, and raises `Failure` with the evidence when it
does not succeed. Where no fork server forks the child, the calling process must have preloaded, have one
thread, and hold no connection that a fork would share.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from nnlite.errors import Failure, FailureClass
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Stage
from nnlite_conversion.isolation import child, sandbox
from nnlite_conversion.isolation.answer import AnswerType, answer_of, evidence
from nnlite_conversion.isolation.collecting import as_failures, copy_file
from nnlite_conversion.isolation.precisions import combined, finished_part
from nnlite_conversion.isolation.process_registry import job_dir, registered
from nnlite_conversion.isolation.scratch import scratch_folder, with_files
from nnlite_conversion.isolation.supervision import ChildSupervision, LimitExceeded
from nnlite_conversion.messages import DEVICE_SAMPLES, Evaluated, Explanation, Preflight
from nnlite_conversion.outcome import ConversionJob, ConversionOutcome

#: What a child is forked for: a function of `pipeline.body`.
Task = Literal["convert", "explain", "preflight", "evaluate"]


#: Between two ticks, seconds.
TICK_S = 0.1


@contextmanager
def convert(
    job: ConversionJob,
    settings: ConversionSettings,
    *,
    workdir: Path,
    tick: Callable[[Stage], bool],
    tick_s: float = TICK_S,
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
        tick: called with the current stage before the start and then about every `tick_s`. While it returns
            False no child starts and the whole tree is stopped, and the time counts only towards the absolute
            limit. An exception ends the child and is passed on.
        tick_s: seconds between two calls, and between two checks of time and memory.
        fork: forks the child's tree; None: this process does, whose memory model code can then read.

    Raises:
        Failure: class `model` when the model cannot be converted, `runtime` when LiteRT refuses its fp32 file
            and nothing else could be made, `converter` when the child crashed or exceeded a limit before
            there was an fp32 file, `infrastructure` when the disk is full, or model code would reach the
            network. Details: `exit`, `signal`, `limit`, `peak_rss_kb`, `timings_ns`, `stderr_tail`, and, from
            the child itself, `error_type`, `traceback` and `operator`.
    """
    begun_ns = time.monotonic_ns()
    waited_ns = _wait_for_turn(settings, tick, tick_s)
    workdir.mkdir(parents=True, exist_ok=True)
    with job_dir(workdir) as folder:
        supervise = partial(_supervise, workdir=workdir, tick=tick, tick_s=tick_s)
        run_child = partial(_ended_child, "convert", folder=folder, supervise=supervise, fork=fork)
        left: ConversionJob | None = job
        parts: list[ConversionOutcome] = []
        while left is not None:
            with run_child(left, settings, waited_ns=waited_ns, begun_ns=begun_ns) as (ended, scratch):
                part, left = finished_part(left, ended, scratch, folder)
            parts.append(part)
            waited_ns = 0
        yield combined(job, parts)


def explain(job: ConversionJob, settings: ConversionSettings, *, workdir: Path) -> Explanation:
    """Convert one model in a forked process and compare the artifact with it, operator by operator.

    Args:
        job: the model and the one precision to explain.
        settings: limits and isolation.
        workdir: as for `convert`.

    Raises:
        Failure: as `convert`.
    """
    return _asked("explain", Explanation, job, settings, workdir=workdir)


def preflight(job: ConversionJob, settings: ConversionSettings, *, workdir: Path) -> Preflight:
    """Try every operator of one model in a forked process, without converting it.

    Args:
        job: the model; its precisions do not matter.
        settings: limits and isolation.
        workdir: as for `convert`.

    Raises:
        Failure: as `convert`.
    """
    return _asked("preflight", Preflight, job, settings, workdir=workdir)


def evaluate(
    job: ConversionJob,
    settings: ConversionSettings,
    *,
    workdir: Path,
    tick: Callable[[Stage], bool],
    fork: child.Fork | None = None,
    samples: Path | None = None,
) -> Evaluated:
    """Run artifacts and their network on labelled samples in a forked process.

    Args:
        job: the model, and in `evaluation` the samples and artifacts.
        settings: limits and isolation.
        workdir, tick, fork: as for `convert`.
        samples: where the samples that the job keeps for devices are copied to; None: nowhere.

    Raises:
        Failure: as `convert`.
    """
    kept = {} if samples is None else {DEVICE_SAMPLES: samples}
    return _asked("evaluate", Evaluated, job, settings, workdir=workdir, tick=tick, fork=fork, files=kept)


def _asked(
    task: Task,
    expected: type[AnswerType],
    job: ConversionJob,
    settings: ConversionSettings,
    *,
    workdir: Path,
    tick: Callable[[Stage], bool] = lambda _: True,
    fork: child.Fork | None = None,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> AnswerType:
    """Run a task in a child, and return its answer; `files` are copied: name there, and target."""
    begun_ns = time.monotonic_ns()
    waited_ns = _wait_for_turn(settings, tick, TICK_S)
    workdir.mkdir(parents=True, exist_ok=True)
    supervise = partial(_supervise, workdir=workdir, tick=tick, tick_s=TICK_S)
    with job_dir(workdir) as folder:
        run_child = partial(_ended_child, task, job, settings, folder=folder, supervise=supervise, fork=fork)
        with run_child(waited_ns=waited_ns, begun_ns=begun_ns) as (ended, scratch):
            answer = answer_of(ended, expected)
            with as_failures(ended, workdir):
                for name, target in files.items():
                    copy_file(scratch / name, target)
            return answer


@contextmanager
def _ended_child(
    task: Task,
    job: ConversionJob,
    settings: ConversionSettings,
    *,
    folder: Path,
    supervise: Callable[[ChildSupervision], None],
    waited_ns: int,
    begun_ns: int,
    fork: child.Fork | None,
) -> Iterator[tuple[ChildSupervision, Path]]:
    """Run a task in a child to its end; yield its supervision, and its private folder while that exists.

    Args:
        waited_ns: for how long it had to wait for its start.
        begun_ns: from when on the absolute limit counts: since before that wait, and earlier children.
    """
    uid = sandbox.unprivileged_uid() if settings.drop_privileges else None
    with scratch_folder(folder, uid) as (scratch, owner):
        job = with_files(job, scratch, owner)
        log = folder / "child.log"
        log.unlink(missing_ok=True)  # of the child before: its crash is not this one's
        started = child.start(
            partial(_run_pipeline, task, job, settings),
            isolation=child.Isolation(
                uid=owner,
                network=settings.network,
                network_filter=settings.network_filter,
                scratch=scratch,
            ),
            log=log,
            fork=fork,
        )
        supervision = ChildSupervision(
            child=started, log=log, settings=settings, waited_ns=waited_ns, absolute_from_ns=begun_ns
        )
        supervise(supervision)
        yield supervision, scratch


def _run_pipeline(task: Task, job: ConversionJob, settings: ConversionSettings, messages_fd: int) -> None:
    """Run the pipeline, in the sandboxed child: the only place where isolation imports it, and torch."""
    from nnlite_conversion.pipeline import body

    getattr(body, task)(job, settings, messages_fd)


def _supervise(
    supervision: ChildSupervision, *, workdir: Path, tick: Callable[[Stage], bool], tick_s: float
) -> None:
    """Wait until the child has ended by itself; it has also ended when an exception is raised."""
    try:
        try:
            with registered(workdir, supervision.child.group):
                supervision.run(tick, tick_s)
        finally:
            supervision.kill_tree()
    except LimitExceeded as exceeded:
        supervision.exceeded = exceeded
    except Failure as failure:
        # `tick` may have raised it; the evidence about the child is then merely additional.
        failure.details.update(evidence(supervision))
        raise
    finally:
        supervision.child.close()


def _wait_for_turn(settings: ConversionSettings, tick: Callable[[Stage], bool], tick_s: float) -> int:
    """Wait until `tick` allows a child to run, and return how long that took in nanoseconds."""
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
