"""Puts the memory of a process that only forks into huge pages, so that its forks copy short page tables."""

import ctypes
import re
from pathlib import Path
from typing import Final

_SIZE_FILE: Final = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
#: Private memory that is no file's, as /proc/self/maps lists it.
_PRIVATE: Final = re.compile(r"^(\w+)-(\w+) rw-p 0+ 00:00 0 *(?:\[heap\])?$", re.MULTILINE)
#: Of Linux 6.1 and later.
_MADV_COLLAPSE: Final = 25


def into_huge_pages() -> int:
    """Put the private memory of this process into huge pages; return how many; 0 where the kernel has none.

    A child that writes to a huge page gets a copy of the 4 KiB that it changes, as without.
    """
    try:
        size = int(_SIZE_FILE.read_text())
        areas = _PRIVATE.findall(Path("/proc/self/maps").read_text())
    except (OSError, ValueError):
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    pages = 0
    for start, end in ((int(start, 16), int(end, 16)) for start, end in areas):
        for address in range(-(-start // size) * size, end - size + 1, size):
            pages += madvise(address, size, _MADV_COLLAPSE) == 0
    return pages
