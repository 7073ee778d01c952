"""Keeps the memory that a conversion frees for what it allocates next.

By default glibc returns each large block to the kernel, which clears it when the next one is allocated. A
conversion allocates a network's weights several times in turn: copies of them are most of what it allocates.
"""

import ctypes
from typing import Final

#: Parameters of glibc's `mallopt`.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_NEVER: Final = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory in this process from now on; without glibc nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
