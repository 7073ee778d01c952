"""Child processes: started in a process group of their own, described when they end, killed with their group.

`OwnedProcess` adds a log and a state file on disk, by which the next worker
ends what a killed one left behind.
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
from typing import IO, Final

from nnlite.host import die_with_parent, processes
from nnlite.host.files import write_atomically
from nnlite.host.processes import ProcessIdentity

#: A killed group is gone within this time, seconds.
KILL_TIMEOUT_S: Final = 10.0
_TAIL_BYTES: Final = 4096
#: The only variables of our environment that foreign code gets: no credentials.
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG", "TMPDIR")


def minimal_environment(*more: str) -> dict[str, str]:
    """Return an environment without credentials: a few variables of ours, and those named in `more`."""
    return {name: os.environ[name] for name in (*_PASSED_ON, *more) if name in os.environ}


def environment_without_settings() -> dict[str, str]:
    """Return our environment without nnlite's variables, which may hold credentials."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")}


def start(
    argv: Sequence[str | Path],
    log: IO[bytes],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    cwd: Path | None = None,
    dies_with_parent: bool = False,
    new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program as the leader of a process group.

    Args:
        log: where stderr goes, and stdout unless it is a pipe.
        environment: all of its environment; None: ours.
        dies_with_parent: the kernel sends it SIGTERM when the thread that started it ends.
        new_session: make it the leader of a process session as well.

    Raises:
        OSError: it cannot be started.
    """
    wrapper = (
        [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())] if dies_with_parent else []
    )
    return subprocess.Popen(
        [*wrapper, *argv],
        stdin=stdin,
        stdout=log if stdout is None else stdout,
        stderr=log,
        env=None if environment is None else dict(environment),
        cwd=cwd,
        start_new_session=new_session,
        process_group=None if new_session else 0,
    )


def kill_group(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """Kill the group that a child leads, reap the child and close its pipes.

    A child that was reaped already is left alone: its group's number may be another's.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=KILL_TIMEOUT_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what it did not read is lost with it
                pipe.close()


def how_it_ended(status: int) -> str:
    """Say how a process ended, as the end of a sentence.

    Args:
        status: its exit status, or minus the signal that ended it.
    """
    return f"exited with status {status}" if status >= 0 else f"was ended by {signal_name(-status)}"


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGKILL; its number where it has none."""
    return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"


def tail(log: Path, max_bytes: int = _TAIL_BYTES) -> str:
    """Return the end of a log, which Postgres can store: no NUL; empty where it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - max_bytes))
            return file.read().decode("utf-8", "replace").replace("\0", "")
    except OSError:
        return ""


class OwnedProcess:
    """A program with a log and a state file; started and stopped any number of times.

    It dies with the thread that starts it: use the main thread.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Args: `folder` gets the log `NAME.log` and the state file `NAME.process.json`."""
        self.log: Final = folder / f"{name}.log"
        self._state_file: Final = folder / f"{name}.process.json"
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
        return "does not run" if self.exit_status is None else how_it_ended(self.exit_status)

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; what an earlier worker left running is ended first.

        Raises:
            OSError: it cannot be started, or the folder cannot be written.
        """
        self.stop(0)
        self.end_orphan()
        with self.log.open("wb") as log:
            self._process = start(argv, log, environment=environment, dies_with_parent=True)
        if (identity := processes.identify(self._process.pid)) is not None:
            write_atomically(self._state_file, json.dumps(asdict(identity)))

    def stop(self, timeout_s: float) -> None:
        """End it with SIGTERM within `timeout_s`, then its whole group with SIGKILL."""
        if self._process is None:
            return
        if timeout_s > 0 and self.alive:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        started = processes.start_time(self._process.pid) or ""
        processes.kill_group(ProcessIdentity(pid=self._process.pid, started=started), KILL_TIMEOUT_S)
        self._process.wait(KILL_TIMEOUT_S)
        self._process = None
        self._state_file.unlink(missing_ok=True)

    def end_orphan(self) -> None:
        """End the group that a killed worker left running."""
        try:
            fields = json.loads(self._state_file.read_text(encoding="utf-8"))
            leader = ProcessIdentity(pid=int(fields["pid"]), started=str(fields["started"]))
        except (OSError, ValueError, TypeError, KeyError):
            return
        processes.kill_group(leader, KILL_TIMEOUT_S)
        self._state_file.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """Return the end of what it printed."""
        return tail(self.log).strip()
