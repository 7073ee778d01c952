"""The process tree of one conversion, forked from a process that has preloaded.

    worker (Celery's pool child)
      warden   own process group; enters the namespaces; dies with the worker
        init     first process of the PID namespace; reaps; dies with the warden
          child    drops privileges, runs the model's code; dies with init

With a PID namespace the kernel ends everything in it when init ends, daemons
that model code started included, however any of the three came to die.
Without one, init adopts what the child leaves behind and ends it, and what
outlives init itself waits for `ledger.kill_leftovers`.
"""

import contextlib
import faulthandler
import io
import json
import logging
import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nnlite.host.fork import reset_signals
from nnlite_conversion.isolation import sandbox
from nnlite_conversion.isolation.process_tree import children_of

#: No file that a child writes may be larger: flatbuffers end at 2 GiB.
MAX_FILE_BYTES = 4 << 30

#: How long init waits between two looks at what the child left behind, seconds.
SWEEP_PAUSE_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """How far the child is kept from the machine."""

    #: Account that model code runs as; None: the worker's own.
    uid: int | None
    #: Whether model code keeps the machine's network.
    network: bool
    #: The child's home, temporary and current folder, owned by `uid`.
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Child:
    """A started conversion, as the worker sees it."""

    #: The warden's PID, which is also the process group.
    group: int
    #: Read end of the pipe that the child, which is not trusted, writes messages to.
    messages_fd: int
    #: Read end of the pipe that init, which is ours, writes the child's end to.
    fate_fd: int
    #: Becomes readable when the whole tree has ended.
    warden_fd: int

    def close(self) -> None:
        """Close the descriptors."""
        for number in (self.messages_fd, self.fate_fd, self.warden_fd):
            os.close(number)


def start(body: Callable[[int], None], *, isolation: Isolation, log: Path) -> Child:
    """Fork the tree and return at once.

    Args:
        body: what the child runs; takes the descriptor that messages go to, must not return
            anything, and ends the child with status 1 when it raises.
        isolation: how far the child is kept from the machine.
        log: where its stdout and stderr go; appended to.

    The caller kills the group and reaps the warden.
    """
    messages_fd, child_messages_fd = os.pipe2(os.O_CLOEXEC)
    fate_fd, init_fate_fd = os.pipe2(os.O_CLOEXEC)
    plan = _Plan(
        body=body,
        isolation=isolation,
        worker=os.getpid(),
        log_fd=os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600),
        messages_fd=child_messages_fd,
        fate_fd=init_fate_fd,
    )
    # A signal between fork and reset would run the worker's own handler in the child.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        warden = os.fork()
        if warden == 0:
            _end_with(lambda: _warden(plan))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        for number in (plan.log_fd, plan.messages_fd, plan.fate_fd):
            os.close(number)
    with contextlib.suppress(OSError):  # it does the same; whoever is first
        os.setpgid(warden, warden)
    return Child(group=warden, messages_fd=messages_fd, fate_fd=fate_fd, warden_fd=os.pidfd_open(warden))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What the forked processes need to know."""

    body: Callable[[int], None]
    isolation: Isolation
    worker: int
    log_fd: int
    messages_fd: int
    fate_fd: int


def _end_with(run: Callable[[], None]) -> None:
    """Run and end this process, so that a forked child never returns into the worker's code."""
    status = 1
    try:
        run()
        status = 0
    except BaseException as error:  # noqa: BLE001  (nothing may leave: below it is the worker's stack)
        # Written by hand: the worker's excepthook and logging are not ours to run.
        with contextlib.suppress(OSError):
            os.write(2, "".join(traceback.format_exception(error)).encode(errors="replace"))
    finally:
        os._exit(status)


def _warden(plan: _Plan) -> None:
    os.setpgid(0, 0)
    reset_signals()
    _redirect(plan.log_fd)
    sandbox.keep_only({plan.messages_fd, plan.fate_fd})
    sandbox.die_with_parent(lambda: os.getppid() != plan.worker)
    first_of_namespace = sandbox.enter_namespaces(network=plan.isolation.network)
    own_fd = os.pidfd_open(os.getpid())
    init = os.fork()
    if init == 0:
        _end_with(lambda: _init(plan, own_fd, first_of_namespace=first_of_namespace))
    os.close(plan.messages_fd)
    os.close(plan.fate_fd)
    os.waitpid(init, 0)


def _init(plan: _Plan, warden_fd: int, *, first_of_namespace: bool) -> None:
    # A parent in another namespace has no number here, so its end is seen by its descriptor.
    sandbox.die_with_parent(lambda: bool(select.select([warden_fd], [], [], 0)[0]))
    os.close(warden_fd)
    if first_of_namespace:
        sandbox.mount_own_proc()
    else:
        sandbox.set_process_option(sandbox.PR_SET_CHILD_SUBREAPER, 1)
    init = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(plan.fate_fd)
        _end_with(lambda: _child(plan, init))
    os.close(plan.messages_fd)
    _report_fate(child, plan.fate_fd)
    if not first_of_namespace:
        _end_adopted()


def _child(plan: _Plan, init: int) -> None:
    # The worker's may be on already, for a file of its own, and without its signals since the reset.
    faulthandler.disable()
    faulthandler.enable(2)
    # Before privileges go: folders above it may be closed to the account.
    os.chdir(plan.isolation.scratch)
    sandbox.drop_privileges(plan.isolation.uid)
    sandbox.die_with_parent(lambda: os.getppid() != init)
    sandbox.volunteer_for_oom()
    sandbox.limit_resources(MAX_FILE_BYTES)
    _private_environment(plan.isolation)
    # The worker's rules for warnings are its own; the log's tail is for what ended the child.
    warnings.simplefilter("ignore")
    plan.body(plan.messages_fd)


def _redirect(log_fd: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    # The worker may have put its own loggers in their place.
    sys.stdout = _text_stream(1)
    sys.stderr = _text_stream(2)
    logging.getLogger().handlers.clear()


def _text_stream(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "replace", line_buffering=True)


def _private_environment(isolation: Isolation) -> None:
    for name in [name for name in os.environ if name.startswith("NNLITE_")]:
        del os.environ[name]
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"):
        os.environ[name] = str(isolation.scratch)
    if not isolation.network:
        os.environ["HF_HUB_OFFLINE"] = "1"


def _report_fate(child: int, fate_fd: int) -> None:
    """Reap until `child` ends, and write how it did."""
    while True:
        pid, status, usage = os.wait4(-1, 0)
        if pid == child:
            break
    code = os.waitstatus_to_exitcode(status)
    exit_status = {"exit": code if code >= 0 else None, "signal": -code if code < 0 else None}
    os.write(fate_fd, json.dumps({**exit_status, "peak_rss_kb": usage.ru_maxrss}).encode())


def _end_adopted() -> None:
    """End what the child left behind; orphans come to this process, so none is missed."""
    while adopted := children_of(os.getpid()):
        for pid in adopted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        select.select([], [], [], SWEEP_PAUSE_S)
