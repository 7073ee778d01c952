"""The file of XNNPACK's weight cache, which two processes share and nothing keeps."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folder within it is new, and ours alone
#: Times the artifact's size: the file, the weights as they are packed, and as much again.
_ROOM: Final = 4


@contextmanager
def weight_cache(artifact: Path) -> Iterator[Path]:
    """Yield a path for an artifact's cache in a new folder: in memory if there is room, else in `TMPDIR`.

    On a disk, writing takes most of the initialization of a large model.
    """
    folder = _MEMORY if _room() >= _ROOM * artifact.stat().st_size else None
    with tempfile.TemporaryDirectory(prefix="nnlite-run-", dir=folder) as name:
        yield Path(name, "xnnpack_weights")


def _room() -> int:
    """Return the bytes that files in memory may still take; 0: there is no such folder for us."""
    if not os.access(_MEMORY, os.W_OK):
        return 0
    return min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
