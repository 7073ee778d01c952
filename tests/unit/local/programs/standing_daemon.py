"""Records itself as the daemon of a home until SIGTERM: `standing_daemon.py HOME`."""

import signal
import sys
from pathlib import Path

from nnlite.local.daemon import recorded

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with recorded(Path(sys.argv[1])):
    while True:
        signal.pause()
