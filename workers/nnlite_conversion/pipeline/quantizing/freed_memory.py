"""Keeps freed memory in the process, for what is allocated next."""

import ctypes
from typing import Final

#: Of malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4


def keep_freed_memory() -> None:
    """Have the C library's allocator return no memory to the kernel, from now on until the process ends.

    Each precision's interpreters pack the weights into as much memory as those before. To give it back and to
    get it again, page by page and zeroed, takes a third of the time of three precisions. Resident memory only
    grows from then on: the sum of the peaks of three models is 4 % higher.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
