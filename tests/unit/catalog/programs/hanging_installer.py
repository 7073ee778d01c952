"""An installer that hangs, with a child: `hanging_installer.py FILE` writes both PIDs into the file."""

import os
import subprocess
import sys
import time
from pathlib import Path

child = subprocess.Popen(["sleep", "3600"])
file = Path(sys.argv[1])
new = file.with_suffix(".new")
new.write_text(f"{os.getpid()} {child.pid}")
new.rename(file)
time.sleep(3600)
