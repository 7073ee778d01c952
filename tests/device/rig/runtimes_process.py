"""The program `device.rig.runtimes` as a child of this process: one for all rigs in it."""

import atexit
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from device.rig.fetch import CHECKOUT

#: Name of the socket in the folder of the runtimes.
SOCKET: Final = "socket"
#: As of `waiting`, which needs packages that the device's image (tests/compose/device) has not.
HANG_S: Final = 900.0


class Runtimes:
    """The process in whose JVMs virtual devices run their app; it ends with this one."""

    def __init__(self) -> None:
        """Start it; it starts no JVM before a device runs its app."""
        #: Where it listens, as `Hardware` takes it.
        self.folder = Path(tempfile.mkdtemp(prefix="nnlite-rig-"))
        path = os.pathsep.join(str(CHECKOUT / name) for name in ("tests", "tools"))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "device.rig.runtimes", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            process_group=0,
        )
        assert self._process.stdout is not None
        is_heard, _, _ = select.select([self._process.stdout], [], [], HANG_S)
        if not is_heard or self._process.stdout.readline() != b"ready\n":
            self._process.kill()
            raise RuntimeError("the runtimes of the rig did not start; see their stderr")
        atexit.register(self.close)

    def warm_up(self, level: int = 30) -> None:
        """Wait until a JVM is ready to run an app at once, so that a timed run does not include its start."""
        with socket.socket(socket.AF_UNIX) as runtimes:
            runtimes.settimeout(HANG_S)
            runtimes.connect(str(self.folder / SOCKET))
            runtimes.sendall(json.dumps({"level": level}).encode() + b"\n")
            if b"done" not in runtimes.recv(64):
                raise RuntimeError("the runtimes of the rig have no JVM; see their stderr")

    def close(self) -> None:
        """End it, with every JVM."""
        atexit.unregister(self.close)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(HANG_S)
        finally:
            self._process.kill()
            self._process.wait(HANG_S)
            self._process.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)


@cache
def shared() -> Runtimes:
    """Return the one of this process, started on the first call."""
    return Runtimes()
