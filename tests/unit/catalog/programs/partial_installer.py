"""Stands for an installer that has downloaded 1,000 bytes, waits until a file is there, and fails."""

import sys
import tempfile
import time
from pathlib import Path

with tempfile.NamedTemporaryFile() as partial:
    partial.write(b"x" * 1000)
    partial.flush()
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
sys.exit(23)
