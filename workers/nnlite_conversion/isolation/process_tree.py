"""Reads the process tree of a conversion and its memory from /proc.

psutil would read every process of the machine each time. The worker checks ten times a second, so this
follows the kernel's lists of children instead.
"""

import os
from pathlib import Path

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


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
