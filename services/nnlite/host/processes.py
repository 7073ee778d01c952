"""Processes identified by PID, start time and boot, so that a process with a reused PID is never signalled.

The only place that reads `/proc/PID/stat`, the boot's id and the PID namespace.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Between two polls of a state that the kernel does not report, seconds.
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """One process, distinct from every other that had or will have its PID."""

    pid: int
    #: Boot id and start time in clock ticks since then; opaque, only compared.
    started: str

    @property
    def alive(self) -> bool:
        """Whether this process runs; a zombie does not."""
        stat = living(self.pid)
        return stat is not None and _started(stat) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process; nothing if it has ended.

        Raises:
            PermissionError: it belongs to another account.
        """
        if start_time(self.pid) != self.started:
            return
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise PermissionError(f"process {self.pid} belongs to another account") from error

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended, and reap it if it is a child; False when it outlives `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        _reap(self.pid)
        return True


def _reap(pid: int) -> None:
    """Collect an ended child, so that no zombie stays for as long as we live."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@dataclass(frozen=True, kw_only=True)
class ProcessStat:
    """One process as `/proc/PID/stat` describes it (proc_pid_stat(5))."""

    pid: int
    #: It is a zombie: ended and not yet reaped.
    ended: bool
    group: int
    session: int
    #: Clock ticks between boot and its start.
    start_ticks: int


def stat_of(pid: int) -> ProcessStat | None:
    """Return the kernel's record of `pid`; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may hold anything: count from behind it.
    fields = stat.rpartition(")")[2].split()
    return ProcessStat(
        pid=pid,
        ended=fields[0] in "ZX",
        group=int(fields[2]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def living(pid: int) -> ProcessStat | None:
    """Return the kernel's record of `pid`; None if it has ended, zombies included."""
    stat = stat_of(pid)
    return None if stat is None or stat.ended else stat


def start_ticks(pid: int) -> int | None:
    """Return when a running process started, in clock ticks since boot; None if it has ended."""
    stat = living(pid)
    return None if stat is None else stat.start_ticks


def boot_id() -> str:
    """Return the kernel's id of this boot, the same in all containers of a machine; empty without one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> int:
    """Return the inode of this process's PID namespace; 0 where the OS has none."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def start_time(pid: int) -> str | None:
    """Return `ProcessIdentity.started` of `pid`, or None if there is no such process.

    Not `psutil`'s creation time, which moves with the system's clock.
    """
    stat = stat_of(pid)
    return None if stat is None else _started(stat)


def _started(stat: ProcessStat) -> str:
    return f"{boot_id()}:{stat.start_ticks}"


def identify(pid: int) -> ProcessIdentity | None:
    """Return the process that has `pid` now, or None."""
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
    """Return the identity of a child that is meant to outlive this process; Popen will not warn about it."""
    identity = identify(child.pid)
    child.returncode = 0
    # An unreaped child keeps its PID even when it has ended.
    assert identity is not None  # noqa: S101
    return identity


def session_members(leader: ProcessIdentity) -> list[ProcessIdentity]:
    """Return the running processes of the session that `leader` leads or led."""
    return _members(leader, os.getsid)


def kill_session(leader: ProcessIdentity, timeout_s: float) -> None:
    """End every process of a session with SIGKILL, those that it forks meanwhile too.

    Raises:
        TimeoutError: some outlived it.
    """
    _kill_members(leader, os.getsid, timeout_s)


def kill_group(leader: ProcessIdentity, timeout_s: float) -> None:
    """End every process of a process group with SIGKILL, those that it forks meanwhile too.

    Raises:
        TimeoutError: some outlived it.
    """
    _kill_members(leader, os.getpgid, timeout_s)


def _members(leader: ProcessIdentity, number_of: Callable[[int], int]) -> list[ProcessIdentity]:
    """Return the running members of a session or group.

    The kernel gives its number to no new process while it has members, so a
    dead leader's PID still names it; if another process has that PID now, it is empty.
    """
    if start_time(leader.pid) not in (None, leader.started):
        return []
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number_of(pid) == leader.pid and (member := identify(pid)) and member.alive:
                members.append(member)
    return members


def _kill_members(leader: ProcessIdentity, number_of: Callable[[int], int], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while members := _members(leader, number_of):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {[member.pid for member in members]} outlived SIGKILL")
        for member in members:
            member.signal(signal.SIGKILL)
        time.sleep(POLL_S)


def running_in(folder: Path, executable: str) -> Iterator[ProcessIdentity]:
    """Yield the processes of a program whose working directory is `folder`.

    Servers change into their data folder, so this finds those that are in no state file.
    The program's name excludes a shell that somebody opened there.
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
