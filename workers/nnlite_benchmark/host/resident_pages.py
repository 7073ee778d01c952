"""Maps in a fork the pages of files, such as libraries, that are mapped in its parent.

A fork does not inherit the page tables of files. Its resident memory would begin
without them, and grow by what the artifact touches of the runtime; with them its
memory figures are those of a new process.
"""

import ctypes
import mmap
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PRESENT: Final = 1 << 63
_ENTRY_BYTES: Final = 8


def resident_pages() -> list[int]:
    """Return the addresses of the pages of files that are resident in this process; empty: unknown."""
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
            descriptor = pagemap.fileno()
            return [page for begin, end in _mapped_files() for page in _present(descriptor, begin, end)]
    except OSError:
        return []


def touch(pages: list[int]) -> None:
    """Read a byte of each page, which maps it."""
    for page in pages:
        ctypes.string_at(page, 1)


def _mapped_files() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, _, _, inode, *_ = line.split()
        if inode != "0" and permissions.startswith("r"):
            begin, end = (int(address, 16) for address in addresses.split("-"))
            yield begin, end


def _present(descriptor: int, begin: int, end: int) -> list[int]:
    first, count = begin // mmap.PAGESIZE, (end - begin) // mmap.PAGESIZE
    entries = array("Q", os.pread(descriptor, count * _ENTRY_BYTES, first * _ENTRY_BYTES))
    return [begin + index * mmap.PAGESIZE for index, entry in enumerate(entries) if entry & _PRESENT]
