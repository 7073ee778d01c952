"""Waiting in tests: for an event, with a deadline that only a hang reaches."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

#: Whatever takes longer hangs, seconds. The only deadline of a wait in the tests: the slowest machine takes
#: a small part of it, so that it decides nothing but when a test that hangs fails. `timeout` in
#: pyproject.toml, which ends a whole test, is larger.
HANG_S = 900.0
#: For settings of what is tested: longer than any wait in the tests, so that only a stop, a signal or an
#: answer ends what has this as its limit.
NEVER_S = 3600.0
#: Between two questions: at first, and in a wait of seconds, whose questions would cost more than what runs.
_POLL_S = 0.02
_LONG_POLL_S = 0.1


def wait_until(holds: Callable[[], T], what: str, evidence: Callable[[], object] = lambda: "") -> T:
    """Wait until `holds` returns something true, and return it.

    Args:
        holds: the condition, asked again and again.
        what: the event that is waited for, for the message.
        evidence: returns what else the message says, such as logs.

    Raises:
        AssertionError: not within `HANG_S`.
    """
    began_s = time.monotonic()
    while True:
        asked_s = time.monotonic()
        if value := holds():
            return value
        answered_s = time.monotonic()
        waited_s = answered_s - began_s
        if waited_s > HANG_S:
            raise AssertionError(f"not within {HANG_S:.0f} s: {what}\n{evidence()}")
        # Asking takes a fifth of the time at most: what is waited for needs the machine more.
        time.sleep(max(_POLL_S, 4 * (answered_s - asked_s), min(waited_s / 10, _LONG_POLL_S)))


class JumpingClock:
    """Takes the place of `time` in a module: it goes on, and jumps where a test lets a limit expire."""

    def __init__(self) -> None:
        self._jumped_s = 0.0

    def jump(self, seconds: float) -> None:
        """Let this time pass at once."""
        self._jumped_s += seconds

    def monotonic(self) -> float:
        """As of `time`, later by what it has jumped."""
        return time.monotonic() + self._jumped_s

    def sleep(self, seconds: float) -> None:
        """As of `time`."""
        time.sleep(seconds)

    def monotonic_ns(self) -> int:
        """As of `time`, later by what it has jumped."""
        return time.monotonic_ns() + round(self._jumped_s * 1e9)


def end(process: "subprocess.Popen[Any]") -> None:
    """Kill a process that a test started, and wait for it; it may have ended already."""
    process.kill()
    process.communicate(timeout=HANG_S)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process has not ended, whether or not its parent has looked."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_all(processes: Iterable[psutil.Process]) -> None:
    """Kill processes and wait for their end; each may have gone already."""
    killed = list(processes)
    for process in killed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not any(map(is_alive, killed)), "killed processes end")


def name_of(process: psutil.Process) -> str:
    """Return what is known of a process: its command line, or its PID where it has gone."""
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} (gone)"


def neighbours() -> list[psutil.Process]:
    """Return all other processes in the network namespace of this one."""
    here = Path("/proc/self/ns/net").readlink()
    processes = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if process.pid != os.getpid() and Path(f"/proc/{process.pid}/ns/net").readlink() == here:
                processes.append(process)
        except (OSError, psutil.Error):
            continue
    return processes
