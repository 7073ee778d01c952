"""A child process of this worker (adb server, emulator) with its own process group and a PID file.

The PID file also has the start time, so that a worker that starts after a
SIGKILL ends exactly the processes that its predecessor left.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from nnlite.host import processes, tether
from nnlite.host.processes import ProcessIdentity

#: A killed group is gone within this time, seconds.
_KILL_TIMEOUT_S: Final = 10.0
_LOG_TAIL_BYTES: Final = 4096


class OwnedProcess:
    """One supervised child process; may be started and stopped any number of times.

    The kernel sends it SIGTERM when the thread that started it ends: use the
    main thread.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Args: `folder` gets the log `NAME.log` and the note `NAME.process.json`."""
        self.log: Final = folder / f"{name}.log"
        self._note: Final = folder / f"{name}.process.json"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its PID while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None: it runs, or never ran."""
        return self._process.poll() if self._process is not None else None

    @property
    def how_it_ended(self) -> str:
        """Say how it ended, or that it does not run, as the end of a sentence."""
        status = self.exit_status
        if status is None:
            return "does not run"
        if status >= 0:
            return f"ended with exit status {status}"
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; a leftover of an earlier worker is ended first.

        Raises:
            OSError: it cannot be started, or the folder cannot be written.
        """
        self.stop(0)
        self.end_leftover()
        tethered = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *argv]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                tethered,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                process_group=0,
            )
        if (identity := processes.identify(self._process.pid)) is not None:
            self._note.write_text(json.dumps(asdict(identity)), encoding="utf-8")

    def stop(self, timeout_s: float) -> None:
        """End it in order, then its whole group with SIGKILL."""
        if self._process is None:
            return
        if timeout_s > 0 and self.alive:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        leader = ProcessIdentity(pid=self._process.pid, started=processes.start_time(self._process.pid) or "")
        processes.kill_group(leader, _KILL_TIMEOUT_S)
        self._process.wait(_KILL_TIMEOUT_S)
        self._process = None
        self._note.unlink(missing_ok=True)

    def end_leftover(self) -> None:
        """End the group of a predecessor that no worker owns any more."""
        try:
            fields = json.loads(self._note.read_text(encoding="utf-8"))
            leader = ProcessIdentity(pid=int(fields["pid"]), started=str(fields["started"]))
        except (OSError, ValueError, TypeError, KeyError):
            return
        processes.kill_group(leader, _KILL_TIMEOUT_S)
        self._note.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """Return the end of what it printed."""
        try:
            raw = self.log.read_bytes()[-_LOG_TAIL_BYTES:]
        except OSError:
            return ""
        return raw.decode("utf-8", "replace").strip()
