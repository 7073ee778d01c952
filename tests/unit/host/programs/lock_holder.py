"""Holds the converter's lock as a supervisor does: `lock_holder.py FOLDER "alone"|"with child"`."""

import os
import sys
from pathlib import Path

from nnlite.host.cores import Cores
from nnlite.host.quiet import ConverterLock
from nnlite.vocabulary import QuietMode

lock = ConverterLock(Path(sys.argv[1]), Cores(mode=QuietMode.TIME_SLICED, measuring=(0,), converting=(0,)))
assert lock.tick()
if sys.argv[2] == "with child" and os.fork() == 0:
    print(os.getpid(), flush=True)
elif sys.argv[2] == "alone":
    print("holds", flush=True)
sys.stdin.read()
