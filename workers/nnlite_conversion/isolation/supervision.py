"""Supervises a conversion child: enforces limits, pauses it for measurements, kills its process tree.

One loop in the worker's only thread. After a return or an exception, `ChildSupervision.kill_tree` kills every
process of the child's tree.
"""

import contextlib
import os
import re
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nnlite.errors import Failure, FailureClass
from nnlite.host.child_process import tail
from nnlite.host.processes import living
from nnlite.settings import PREFIX
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Stage
from nnlite_conversion.culprit import OUTERMOST
from nnlite_conversion.isolation import process_tree
from nnlite_conversion.isolation.child import STACK_SIGNAL, Child
from nnlite_conversion.messages import Inbox

#: Called with the current stage every `TICK_S`; returns whether the child may run now.
Tick = Callable[[Stage], bool]
#: Between two ticks, and between two checks of time and memory, seconds.
TICK_S = 0.1

#: Time that the tree has to end after each step of `ChildSupervision.kill_tree`, before the next, seconds.
END_STEP_S = 2.0

#: What the interpreter writes behind the traceback of a crash: some 300 names, which push the traceback out.
_EXTENSION_MODULES = re.compile(r"^Extension modules: .*\n?", re.MULTILINE)
#: More than a list and the tracebacks of dozens of threads.
_STACKS_BYTES = 1 << 18
#: How often it is looked whether tracebacks were written, within `END_STEP_S`.
_STACK_STEPS = 40

#: A child's log is truncated above this size; only its tail is ever read.
MAX_LOG_BYTES = 16 << 20


class ExitStatus(BaseModel):
    """Exit status of the child; written by init, which runs none of the model's code."""

    model_config = ConfigDict(frozen=True)

    exit: int | None = None
    signal: int | None = None
    peak_rss_kb: int = 0


@dataclass(kw_only=True)
class ChildSupervision:
    """A child under supervision, and what is known of it after it has ended."""

    child: Child
    #: What the child has written, and what its interpreter has.
    log: Path
    traces: Path
    settings: ConversionSettings
    #: Of the model; None: there is none.
    code: str | None = None
    inbox: Inbox = field(init=False)
    timings_ns: dict[Stage, int] = field(default_factory=dict)
    peak_rss_kb: int = 0
    exit_status: ExitStatus | None = None
    #: Time that the child waited for a measurement to end before it was started.
    waited_ns: int = 0
    #: From when on the absolute limit counts: before that wait.
    absolute_from_ns: int
    started_ns: int = field(init=False)
    #: The limit of time or memory for which it was killed; None: it ended otherwise.
    exceeded: Failure | None = None
    _stage_since_ns: int = 0
    _held_ns: int = 0
    _held_since_ns: int | None = None

    def __post_init__(self) -> None:
        self.inbox = Inbox(descriptor=self.child.messages_fd)
        self.started_ns = self._stage_since_ns = time.monotonic_ns()

    def run(self, tick: Tick) -> None:
        """Wait until the child's tree has ended by itself, or must end: it exceeds a limit, or sends garbage.

        While `tick` says so, the tree is paused.

        Raises:
            BaseException: whatever `tick` raises.
        """
        next_tick = time.monotonic()
        while True:
            wait_for = [self.child.supervisor_fd, *([self.child.messages_fd] if self.inbox.open else [])]
            ready, _, _ = select.select(wait_for, [], [], max(0.0, next_tick - time.monotonic()))
            if self.child.messages_fd in ready:
                self._receive()
            if self.child.supervisor_fd in ready:
                return
            if time.monotonic() >= next_tick:
                self.exceeded = self._exceeded()
                if self.exceeded is not None and self.exceeded.details["limit"] == "timeout_s":
                    self._ask_for_stacks()
                if self.exceeded is not None or self.inbox.garbage is not None:
                    return
                if tick(self.inbox.stage):
                    self._resume()
                else:
                    self._pause()
                next_tick = time.monotonic() + TICK_S

    def kill_tree(self) -> None:
        """Kill the processes of the tree that are alive, and read the last messages and the exit status."""
        # Stopped processes are killed by SIGKILL, but their parents must run to reap them.
        for victims in (self._model_code, self._init):
            if self._ended_within(0):
                break
            for pid in victims():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._signal_group(signal.SIGCONT)
            self._ended_within(END_STEP_S)
        # Before the supervisor is reaped: until then the kernel cannot reuse the group's ID.
        self._signal_group(signal.SIGKILL)
        self.child.reap()
        self._receive()
        self._account_stage(self.inbox.stage)
        if quiet_ns := self.waited_ns + self._hold_ns():
            self.timings_ns[Stage.QUIET] = quiet_ns
        self.exit_status = self._read_exit_status()
        self.peak_rss_kb = max(self.peak_rss_kb, self.exit_status.peak_rss_kb if self.exit_status else 0)

    def stderr_tail(self) -> str:
        """Return the end of what the child wrote, and of what its interpreter did."""
        kept = self.settings.stderr_tail_bytes
        return "\n".join(filter(None, (tail(self.log, kept), self.stacks()[-kept:])))

    def stacks(self) -> str:
        """Return where the child's threads were when it crashed or hung; empty: it did neither."""
        return _EXTENSION_MODULES.sub("", tail(self.traces, _STACKS_BYTES))

    def _ask_for_stacks(self) -> None:
        """Have the child's interpreter write where its threads are, and wait for it."""
        self._resume()
        for pid in self._model_code()[:1]:  # init's first child
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, STACK_SIGNAL)
        for _ in range(_STACK_STEPS):
            if OUTERMOST in self.stacks() or self._ended_within(END_STEP_S / _STACK_STEPS):
                return

    def _receive(self) -> None:
        stage = self.inbox.stage
        self.inbox.receive()
        if self.inbox.stage is not stage:
            self._account_stage(stage)

    def _account_stage(self, stage: Stage) -> None:
        now = self._worked_ns() + self.started_ns
        self.timings_ns[stage] = self.timings_ns.get(stage, 0) + now - self._stage_since_ns
        self._stage_since_ns = now

    def _worked_ns(self) -> int:
        """Return the time since the start without the time on hold."""
        return time.monotonic_ns() - self.started_ns - self._hold_ns()

    def _hold_ns(self) -> int:
        holding_ns = time.monotonic_ns() - self._held_since_ns if self._held_since_ns is not None else 0
        return self._held_ns + holding_ns

    def _exceeded(self) -> Failure | None:
        settings = self.settings
        worked_s, all_s = self._worked_ns() / 1e9, (time.monotonic_ns() - self.absolute_from_ns) / 1e9
        if worked_s > settings.timeout_s:
            return self._limit("timeout_s", f"{settings.timeout_s:g} s")
        if all_s > settings.absolute_timeout_s:
            return self._limit(
                "absolute_timeout_s", f"{settings.absolute_timeout_s:g} s, time on hold included"
            )
        if self._memory_kb() > settings.memory_limit_mb * 1024:
            return self._limit("memory_limit_mb", f"{settings.memory_limit_mb} MiB of resident memory")
        for file in (self.log, self.traces):
            if file.stat().st_size > MAX_LOG_BYTES:
                os.truncate(file, 0)  # it is open for appending: the child continues at the start
        return None

    def _memory_kb(self) -> int:
        """Return the resident memory of the model's code and the processes that it started.

        RSS includes the pages that are shared with the worker since the fork. Several processes of one
        conversion would count them several times, so a sum above the limit is taken again by PSS, which
        counts each page once.
        """
        members = self._model_code()
        memory_kb = sum(map(process_tree.rss_kb, members))
        if len(members) > 1 and memory_kb > self.settings.memory_limit_mb * 1024:
            memory_kb = sum(map(process_tree.pss_kb, members))
        self.peak_rss_kb = max(self.peak_rss_kb, memory_kb)
        return memory_kb

    def _pause(self) -> None:
        if self._held_since_ns is None:
            self._held_since_ns = time.monotonic_ns()
            self._signal_group(signal.SIGSTOP)

    def _resume(self) -> None:
        if self._held_since_ns is not None:
            self._held_ns += time.monotonic_ns() - self._held_since_ns
            self._held_since_ns = None
            self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        """Signal the group, and the processes of the tree that have left the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.group, number)
        for pid in self._model_code():
            member = living(pid)
            if member is not None and member.group != self.child.group:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _init(self) -> list[int]:
        return process_tree.children_of(self.child.group)

    def _model_code(self) -> list[int]:
        return [pid for init in self._init() for pid in process_tree.tree_of(init)[1:]]

    def _ended_within(self, seconds: float) -> bool:
        return bool(select.select([self.child.supervisor_fd], [], [], seconds)[0])

    def _read_exit_status(self) -> ExitStatus | None:
        os.set_blocking(self.child.exit_status_fd, False)
        try:
            return ExitStatus.model_validate_json(os.read(self.child.exit_status_fd, 4096))
        except (BlockingIOError, ValidationError):
            return None  # init was killed with the others

    def _limit(self, name: str, value: str) -> Failure:
        reason = f"the conversion exceeded its limit of {value} ({PREFIX}CONVERSION__{name.upper()})"
        return Failure(FailureClass.CONVERTER, self.inbox.stage, reason, {"limit": name})
