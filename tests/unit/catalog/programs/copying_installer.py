"""An installer that copies a file: `copying_installer.py SOURCE NAME LOG ARGUMENT...` logs its arguments."""

import shutil
import sys
from pathlib import Path

source, name, log, *arguments = sys.argv[1:]
with Path(log).open("a") as file:
    print(*arguments, file=file)
shutil.copy(source, Path(arguments[arguments.index("--dest") + 1]) / name)
