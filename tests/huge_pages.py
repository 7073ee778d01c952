"""Puts this process's memory into huge pages: its forks then copy and free few entries of page tables."""

import ctypes
import re
from pathlib import Path

_SIZE = 2 << 20
_MADV_COLLAPSE = 25
#: Private memory of no file, as `/proc/self/maps` has it.
_ANONYMOUS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0\s*(?:\[heap\])?$", re.MULTILINE)


def collapse() -> None:
    """Ask the kernel for huge pages where there is memory now; one that has none leaves all as it is."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in _ANONYMOUS.findall(Path("/proc/self/maps").read_text()):
        first = -(-int(start, 16) // _SIZE) * _SIZE
        for address in range(first, int(end, 16) - _SIZE + 1, _SIZE):
            madvise(address, _SIZE, _MADV_COLLAPSE)
