"""Runs `nnlite ARGUMENT...` and prints its exit code and which of some modules it imported.

Usage: imports_of_command.py MODULE,MODULE ARGUMENT...
"""

import json
import sys

from nnlite.cli import main

modules = sys.argv[1].split(",")
sys.argv = ["nnlite", *sys.argv[2:]]
code = None
try:
    main()
except SystemExit as end:
    code = end.code or 0
print(json.dumps([code, [name for name in modules if name in sys.modules]]), file=sys.stderr)
