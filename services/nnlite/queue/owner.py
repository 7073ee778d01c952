"""Who holds a row: a Celery node name and one instance of a process.

An instance is host, PID namespace, PID and start time, so that a reused PID or
a container with the same host name is never taken for the process that died.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One process, told apart from every other that ever ran."""

    host: str
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
            pid_namespace=_pid_namespace(),
            pid=pid,
            start_time=start_time(pid) or 0,
        )

    def __str__(self) -> str:
        return f"{self.host}/{self.pid_namespace}/{self.pid}/{self.start_time}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the instance that `str(instance)` wrote."""
        host, pid_namespace, pid, started = text.rsplit("/", 3)
        return cls(host=host, pid_namespace=int(pid_namespace), pid=int(pid), start_time=int(started))

    def is_dead(self) -> bool:
        """Whether this process is known to be gone; False where it cannot be seen from here."""
        if self.host != socket.gethostname() or self.pid_namespace != _pid_namespace():
            return False
        return start_time(self.pid) != self.start_time


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


def _pid_namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0
