"""The owner of a leased row: a Celery node name and one process, identified across machines and containers.

An instance is host name, boot, PID namespace, PID and start time. The kernel reuses
the numbers of PIDs and of namespaces, and containers of two machines may have one
host name; but within one boot, a process that started at another time is another
process, and a namespace keeps its number as long as anything runs in it.
"""

import os
import socket
from dataclasses import dataclass
from typing import Self

from nnlite.host.processes import boot_id, pid_namespace, start_ticks


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One process, distinct from every other that ever ran on any machine."""

    #: For people; two machines may have the same name.
    host: str
    #: See `boot_id`; empty where the OS has none.
    boot: str
    #: See `pid_namespace`; 0 where the OS has none.
    pid_namespace: int
    pid: int
    #: Clock ticks since boot at which the process started; 0 where it is unknown.
    start_time: int

    @classmethod
    def current(cls) -> Self:
        """Return the instance of this process."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            boot=boot_id(),
            pid_namespace=pid_namespace(),
            pid=pid,
            start_time=start_ticks(pid) or 0,
        )

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid_namespace}/{self.pid}/{self.start_time}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the instance that `str(instance)` wrote."""
        place, pid_namespace, pid, started = text.rsplit("/", 3)
        host, _, boot = place.rpartition("/")  # a host name without a boot is not ours
        return cls(
            host=host, boot=boot, pid_namespace=int(pid_namespace), pid=int(pid), start_time=int(started)
        )

    @property
    def in_sight(self) -> bool:
        """Whether this process would see it if it ran: same boot, same PID namespace."""
        return self.of_this_boot and self.pid_namespace == pid_namespace()

    @property
    def of_this_boot(self) -> bool:
        """Whether it ran during this boot of this machine, in any container."""
        return self.boot != "" and self.boot == boot_id()

    def is_dead(self) -> bool:
        """Whether it is known to have ended; False where it cannot be seen from here."""
        return self.in_sight and start_ticks(self.pid) != self.start_time


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The holder of a lease."""

    node: str
    instance: Instance
