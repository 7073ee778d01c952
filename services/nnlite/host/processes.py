"""Processes that are known by PID and start time, so that a reused PID is never signalled.

A PID alone names whatever runs under it now; with the time at which the
process started it names one process for ever. Everything that this package
ends goes through here.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Between two looks at something that gives no notice when it happens.
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """One process of one boot of this machine."""

    pid: int
    #: Boot and start time as the kernel counts it; opaque, compared only.
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process runs; one that ended and was not yet reaped does not."""
        process = self._process()
        if process is None:
            return False
        try:
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this very process; nothing where it is gone.

        Raises:
            PermissionError: it belongs to another account.
        """
        process = self._process()
        if process is None:
            return
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        except psutil.AccessDenied as error:
            raise PermissionError(f"process {self.pid} belongs to another account") from error

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is gone, reaping it where it is ours; False when it outlives `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        _reap(self.pid)
        return True

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return None
        return process if start_time(self.pid) == self.started else None


def _reap(pid: int) -> None:
    """Collect an ended child, so that no zombie stays for as long as we live."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def start_time(pid: int) -> str | None:
    """Return when `pid` started, or None where there is no such process.

    On Linux this is read from /proc, in clock ticks since the named boot:
    `psutil`'s creation time moves with the system's clock.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return _start_time_without_proc(pid)
    # The second field is the program's name, in parentheses, and may hold anything.
    return f"{boot}:{stat.rpartition(')')[2].split()[19]}"


def _start_time_without_proc(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def identify(pid: int) -> ProcessIdentity | None:
    """Return the process that runs under `pid` now, or None."""
    started = start_time(pid)
    return None if started is None else ProcessIdentity(pid=pid, started=started)


def end(process: ProcessIdentity, signals: Sequence[signal.Signals], timeout_s: float) -> None:
    """End a process with each of `signals` in turn, sharing `timeout_s` evenly, then with SIGKILL.

    Raises:
        PermissionError: it belongs to another account.
        TimeoutError: it outlived even SIGKILL.
    """
    for number in signals:
        process.signal(number)
        if process.wait(timeout_s / len(signals)):
            return
    process.signal(signal.SIGKILL)
    if not process.wait(max(timeout_s, 5.0)):
        raise TimeoutError(
            f"process {process.pid} outlived SIGKILL: it hangs in the kernel (a dead disk or mount?)"
        )


def disown(child: subprocess.Popen[bytes]) -> ProcessIdentity:
    """Return who a child is, and let it outlive us without complaint."""
    identity = identify(child.pid)
    child.returncode = 0
    # A child that we have not waited for keeps its PID even when it has ended.
    assert identity is not None  # noqa: S101
    return identity


def session_members(leader: ProcessIdentity) -> list[ProcessIdentity]:
    """Return the living processes of a session, its leader included.

    The kernel gives a session's number to no new process while the session has
    members, so a dead leader's PID still names it; where another process has
    that PID now, the session is empty.
    """
    if start_time(leader.pid) not in (None, leader.started):
        return []
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader.pid and (member := identify(pid)) and member.alive:
                members.append(member)
    return members


def kill_session(leader: ProcessIdentity, timeout_s: float) -> None:
    """End every process of a session with SIGKILL, those that it forks meanwhile too.

    Raises:
        TimeoutError: some outlived it.
    """
    deadline = time.monotonic() + timeout_s
    while members := session_members(leader):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {[member.pid for member in members]} outlived SIGKILL")
        for member in members:
            member.signal(signal.SIGKILL)
        time.sleep(POLL_S)


def running_in(folder: Path, executable: str) -> Iterator[ProcessIdentity]:
    """Yield the processes of a program whose working directory is `folder`.

    Servers change into their data folder, so this finds one that no record
    names. The program's name keeps a user's shell that stands there alive.
    """
    real = folder.resolve()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            identity = identify(process.pid)
            if identity and Path(process.exe()).name == executable and Path(process.cwd()) == real:
                yield identity


def end_all(processes: Iterable[ProcessIdentity], timeout_s: float) -> None:
    """End processes with SIGKILL and wait until they are gone."""
    processes = list(processes)
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in processes:
        process.wait(timeout_s)
