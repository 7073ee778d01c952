"""Huge pages of what tests start: none for workers that convert a few models."""

import ctypes
from typing import Final

_LIBC: Final = ctypes.CDLL(None)
#: Of prctl(2), inherited by all that the process starts.
_PR_SET_THP_DISABLE: Final = 41


def without_huge_pages() -> None:
    """Keep this process and all that it starts from huge pages; for `preexec_fn`.

    A conversion worker puts its memory into them when it starts. Where memory is fragmented, this takes
    1 to 3 s of processor time, and pays after some dozens of models.
    """
    _LIBC.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
