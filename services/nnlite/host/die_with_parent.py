"""Executes a program that dies with its parent: asks the kernel for SIGTERM when the parent dies.

`python -I -S die_with_parent.py PARENT_PID PROGRAM [ARGUMENT...]`. It is a program of its own,
because Python code between fork and exec can deadlock in a process with threads. It
imports nothing of nnlite.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGTERM at the end of the parent, then execute the program."""
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(f"{command[0]} is not started: its supervisor {parent} has ended")
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
