"""Forks the process tree of one conversion from a process that has preloaded.

    parent (the fork server)
      supervisor   own process group; enters the namespaces; dies with the parent
        init         PID 1 of the PID namespace; reaps; dies with the supervisor
          child        drops privileges, runs the model's code; dies with init

In a PID namespace the kernel kills every process, daemons of the model's code included, when init ends,
however any of the three ended. Without one, init adopts the processes that the child leaves behind and kills
them; processes that outlive init are killed by `process_registry.kill_orphans` when the next worker starts.
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
from typing import NamedTuple

from nnlite.errors import FailureClass
from nnlite.host.fork import die_with_parent, reset_signals
from nnlite_conversion.isolation import sandbox
from nnlite_conversion.isolation.process_tree import children_of
from nnlite_conversion.messages import Refusal, send

#: Largest file that a child may write; flatbuffers end at 2 GiB.
MAX_FILE_BYTES = 4 << 30

#: Has the child write where its threads are. What the model's code has started may end of it.
STACK_SIGNAL = signal.SIGUSR2

#: Pause of init between two passes over the processes that the child left behind, seconds.
SWEEP_PAUSE_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The child's sandbox."""

    #: Account that model code runs as; None: the worker's own.
    uid: int | None
    #: Whether model code can use the machine's network.
    network: bool
    #: Whether it must be the seccomp filter that takes the network, as `sandbox.leave_network` says.
    network_filter: bool
    #: The child's home, temporary and current folder, owned by `uid`.
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Forked:
    """A forked process tree."""

    #: PID of the supervisor, which is also the process group.
    group: int
    #: Becomes readable when the whole tree has ended.
    supervisor_fd: int
    #: Reaps the supervisor, which has ended; its PID may then become another process's.
    reap: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Child(Forked):
    """A started process tree, as the worker sees it."""

    #: Read end of the pipe that the child, which is untrusted, writes messages to.
    messages_fd: int
    #: Read end of the pipe that init, which is trusted, writes the child's exit status to.
    exit_status_fd: int

    def close(self) -> None:
        """Close the descriptors."""
        for number in (self.messages_fd, self.exit_status_fd, self.supervisor_fd):
            os.close(number)


class Outputs(NamedTuple):
    """Descriptors that a tree writes to."""

    log: int
    #: Of the interpreter, not of what the model's code prints: where it crashed, or is at `STACK_SIGNAL`.
    traces: int
    #: Of the child.
    messages: int
    #: Of init.
    exit_status: int


#: What the child runs; takes the descriptor to write messages to. It exits with status 1 when that raises.
Body = Callable[[int], None]
#: Forks a tree: `fork_tree`, or the same done by the fork server.
Fork = Callable[[Body, Isolation, Outputs], Forked]


def start(body: Body, *, isolation: Isolation, log: Path, traces: Path, fork: Fork | None = None) -> Child:
    """Fork the tree and return at once.

    Args:
        body: what the child runs.
        isolation: the child's sandbox.
        log: file that its stdout and stderr are appended to.
        traces: file that the interpreter writes the stacks of its threads to.
        fork: None: the tree is forked from this process, and the child has a copy of its memory.

    The caller kills the group and reaps the supervisor.
    """
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log_fd, traces_fd = os.open(log, appending, 0o600), os.open(traces, appending, 0o600)
    messages_fd, child_messages_fd = os.pipe2(os.O_CLOEXEC)
    exit_status_fd, init_exit_status_fd = os.pipe2(os.O_CLOEXEC)
    outputs = Outputs(log_fd, traces_fd, child_messages_fd, init_exit_status_fd)
    try:
        forked = (fork or fork_tree)(body, isolation, outputs)
    except BaseException:
        os.close(messages_fd)
        os.close(exit_status_fd)
        raise
    finally:
        for number in outputs:
            os.close(number)
    return Child(**vars(forked), messages_fd=messages_fd, exit_status_fd=exit_status_fd)


def fork_tree(body: Body, isolation: Isolation, outputs: Outputs) -> Forked:
    """Fork the tree of `body` from this process."""
    parent = os.getpid()
    # A signal between fork and reset would run the parent's own handler in the child.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        supervisor = os.fork()
        if supervisor == 0:
            run_and_exit(lambda: _supervisor(body, isolation, outputs, parent))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    with contextlib.suppress(OSError):  # the supervisor does the same; one of both is first
        os.setpgid(supervisor, supervisor)
    return Forked(
        group=supervisor,
        supervisor_fd=os.pidfd_open(supervisor),
        reap=lambda: os.waitpid(supervisor, 0),
    )


def run_and_exit(run: Callable[[], None]) -> None:
    """Run and exit, so that a forked process never returns into its parent's code."""
    status = 1
    try:
        run()
        status = 0
    except BaseException as error:  # noqa: BLE001  (nothing may propagate into the parent's stack)
        # Not by excepthook or logging: both are the parent's.
        with contextlib.suppress(OSError):
            os.write(2, "".join(traceback.format_exception(error)).encode(errors="replace"))
    finally:
        os._exit(status)


def _supervisor(body: Body, isolation: Isolation, outputs: Outputs, parent: int) -> None:
    os.setpgid(0, 0)
    reset_signals()
    _redirect(outputs.log)
    sandbox.keep_only({outputs.traces, outputs.messages, outputs.exit_status})
    die_with_parent(lambda: os.getppid() != parent)
    first_of_namespace = sandbox.enter_namespaces(network=isolation.network)
    own_fd = os.pidfd_open(os.getpid())
    init = os.fork()
    if init == 0:
        run_and_exit(lambda: _init(body, isolation, outputs, own_fd, first_of_namespace=first_of_namespace))
    for number in (outputs.traces, outputs.messages, outputs.exit_status):
        os.close(number)
    os.waitpid(init, 0)


def _init(
    body: Body, isolation: Isolation, outputs: Outputs, supervisor_fd: int, *, first_of_namespace: bool
) -> None:
    # A parent in another PID namespace has no PID here, so its end is detected by its pidfd.
    die_with_parent(lambda: bool(select.select([supervisor_fd], [], [], 0)[0]))
    os.close(supervisor_fd)
    if first_of_namespace:
        sandbox.mount_own_proc()
    else:
        sandbox.set_process_option(sandbox.PR_SET_CHILD_SUBREAPER)
    init = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(outputs.exit_status)
        run_and_exit(lambda: _child(body, isolation, outputs, init))
    os.close(outputs.traces)
    os.close(outputs.messages)
    _report_exit_status(child, outputs.exit_status)
    if not first_of_namespace:
        _kill_adopted()


def _child(body: Body, isolation: Isolation, outputs: Outputs, init: int) -> None:
    # The worker's may be enabled, for another file, and lost its signal handlers in the reset.
    faulthandler.disable()
    faulthandler.enable(outputs.traces)
    faulthandler.register(STACK_SIGNAL, outputs.traces)
    # Before privileges are dropped: the account may not be allowed to traverse the parents.
    os.chdir(isolation.scratch)
    sandbox.drop_privileges(isolation.uid)
    die_with_parent(lambda: os.getppid() != init)
    sandbox.volunteer_for_oom()
    sandbox.limit_resources(MAX_FILE_BYTES)
    if not isolation.network:
        try:
            sandbox.leave_network(filter_required=isolation.network_filter)
        except (OSError, sandbox.NetworkOpenError) as error:  # or no process can be forked to try it
            send(outputs.messages, Refusal(failure_class=FailureClass.INFRASTRUCTURE, reason=str(error)))
            return
    _private_environment(isolation)
    # The tail of the log should show why the child ended, not warnings.
    warnings.simplefilter("ignore")
    body(outputs.messages)


def _redirect(log_fd: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    # The worker may have replaced both by its loggers.
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


def _report_exit_status(child: int, exit_status_fd: int) -> None:
    """Reap until `child` ends, and write its exit status and peak memory."""
    while True:
        pid, status, usage = os.wait4(-1, 0)
        if pid == child:
            break
    code = os.waitstatus_to_exitcode(status)
    exit_status = {"exit": code if code >= 0 else None, "signal": -code if code < 0 else None}
    os.write(exit_status_fd, json.dumps({**exit_status, "peak_rss_kb": usage.ru_maxrss}).encode())


def _kill_adopted() -> None:
    """Kill the processes that the child left behind; all are reparented to this one, so none is missed."""
    while adopted := children_of(os.getpid()):
        for pid in adopted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        select.select([], [], [], SWEEP_PAUSE_S)
