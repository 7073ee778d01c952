"""A writer that is killed before it renames its file: `killed_store_writer.py STORE FILE`."""

import os
import signal
import sys
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from nnlite.artifacts.store import ArtifactStore

LocalFileSystem.mv = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
ArtifactStore(sys.argv[1], Path("cache")).put(Path(sys.argv[2]), ".tflite")
