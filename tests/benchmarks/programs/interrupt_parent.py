"""Interrupts its parent, waits to be interrupted itself, and leaves a file in the folder that it runs in."""

import os
import signal
import time
from pathlib import Path

try:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    Path("stopped").touch()
