"""Who holds a row: a Celery node name and one instance of a process.

An instance is host, boot, PID namespace, PID and start time. The kernel gives
the numbers of PIDs and of namespaces again, and containers of two machines may
have one host name; but of one boot, a process that started at another time is
another process, and a namespace has its number for as long as anything lives in it.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One process, told apart from every other that ever ran."""

    #: For people; two machines may have the same.
    host: str
    #: The kernel's id of this boot of the machine, the same in all its containers; empty where it has none.
    boot: str
    #: Inode of the PID namespace; 0 where the OS has none.
    pid_namespace: int
    pid: int
    #: Clock ticks since boot at which the process started; 0 where the OS does not tell.
    start_time: int

    @classmethod
    def current(cls) -> Self:
        """Return the instance of this very process."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            boot=_boot(),
            pid_namespace=_pid_namespace(),
            pid=pid,
            start_time=start_time(pid) or 0,
        )

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid_namespace}/{self.pid}/{self.start_time}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the instance that `str(instance)` wrote."""
        place, pid_namespace, pid, started = text.rsplit("/", 3)
        host, _, boot = place.rpartition("/")  # without a boot, a host's name is none of ours
        return cls(
            host=host, boot=boot, pid_namespace=int(pid_namespace), pid=int(pid), start_time=int(started)
        )

    @property
    def in_sight(self) -> bool:
        """Whether it can be seen from here if it lives."""
        return self.of_this_boot and self.pid_namespace == _pid_namespace()

    @property
    def of_this_boot(self) -> bool:
        """Whether it ran on this machine since its start, in whatever container."""
        return self.boot != "" and self.boot == _boot()

    def is_dead(self) -> bool:
        """Whether this process is known to be gone; False where it cannot be seen from here."""
        return self.in_sight and start_time(self.pid) != self.start_time


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The holder of a lease."""

    node: str
    instance: Instance


def start_time(pid: int) -> int | None:
    """Return when process `pid` started, in clock ticks since boot; None if there is none (or a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name in parentheses may hold spaces: fields are counted from behind it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0
