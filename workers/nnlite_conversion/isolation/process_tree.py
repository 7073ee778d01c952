"""Reads the process tree of a conversion and its memory from /proc.

psutil would read every process of the machine each time. The worker checks ten times a second, so this
follows the kernel's lists of children instead.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process, distinguishable from a later one with the same PID."""

    pid: int
    #: Clock ticks between boot and its start.
    start_time: int
    group: int
    session: int


def children_of(pid: int) -> list[int]:
    """Return the PIDs of the children of every thread of `pid`; empty when it has ended."""
    children: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return children
    return children


def tree_of(pid: int) -> list[int]:
    """Return `pid` and all its living descendants, parents first."""
    tree = [pid]
    for member in tree:
        tree += children_of(member)
    return tree


def rss_kb(pid: int) -> int:
    """Return the resident memory of `pid`, pages shared with others included; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB
    except (FileNotFoundError, ProcessLookupError):
        return 0


def pss_kb(pid: int) -> int:
    """Return the resident memory of `pid`, each shared page divided by its users; 0 when it has ended.

    Exact and slow: the kernel walks the whole page table.
    """
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0


def identity(pid: int) -> ProcessIdentity | None:
    """Return the identity of `pid`, or None when it has ended; a zombie has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    return ProcessIdentity(pid=pid, group=int(fields[2]), session=int(fields[3]), start_time=int(fields[19]))


def members_of(group: int) -> list[ProcessIdentity]:
    """Return the living processes of a process group; reads every process of the machine."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [found for pid in pids if (found := identity(pid)) and found.group == group]
