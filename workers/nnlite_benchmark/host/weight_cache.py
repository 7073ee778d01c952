"""The file of XNNPACK's weight cache, which two processes share and nothing keeps."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

#: Times the artifact's size: the file, the weights as they are packed, and as much again.
_ROOM: Final = 4


@contextmanager
def weight_cache(artifact: Path) -> Iterator[Path]:
    """Yield a path for an artifact's cache: in memory if there is ample room, else in `TMPDIR`.

    On a disk, writing takes most of the initialization of a large model. The kernel frees memory that no
    process has open, so what is killed leaves nothing there.
    """
    if psutil.virtual_memory().available >= _ROOM * artifact.stat().st_size:
        descriptor = os.memfd_create("nnlite-weights")
        try:
            yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix="nnlite-run-") as folder:
            yield Path(folder, "xnnpack_weights")
