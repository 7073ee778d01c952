"""Runs commands, each in a fork of a process that has only imported `nnlite.cli`; prints what they imported.

Usage: imports_of_command.py MODULE,MODULE < JSON. The input has a folder for each command, which becomes its
home and working folder, with its arguments and variables; `FOLDER.out` gets what it prints. The output is a
JSON list of exit codes, each with those of the modules that the command has imported.
"""

import json
import os
import sys

from nnlite.cli import main


def run(folder: str, arguments: list[str], environment: dict[str, str]) -> int:
    """Run a command; return its exit code."""
    os.dup2(os.open(f"{folder}.out", os.O_WRONLY | os.O_CREAT, 0o600), 1)
    os.chdir(folder)
    os.environ |= {"NNLITE_HOME": folder} | environment
    sys.argv = ["nnlite", *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout.flush()
    return 0


modules = sys.argv[1].split(",")
results = []
for command in json.load(sys.stdin):
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        code = run(*command)
        os.write(writing, json.dumps([code, [name for name in modules if name in sys.modules]]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as result:
        results.append(json.load(result))
    os.waitpid(pid, 0)
print(json.dumps(results))
