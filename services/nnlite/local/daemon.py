"""The local daemon: a process that keeps a home's servers and workers running, started by `nnlite up`.

`daemon.json` in the home names it. It holds the lock of the home's workers, so that other commands use its
workers; while nothing of it is left, the next command starts its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGTERM

from nnlite.host import processes
from nnlite.host.files import write_atomically
from nnlite.host.processes import ProcessIdentity
from nnlite.local import logs
from nnlite.local.home import LocalError, LocalInstance
from nnlite.local.orphans import read_workers
from nnlite.local.state_file import read_record

#: Name of its log.
LOG = "daemon"


@dataclass(frozen=True, kw_only=True)
class LocalProcess:
    """One process of a home: a server, a worker or the daemon."""

    name: str
    kind: str
    identity: ProcessIdentity


def daemon_of(home: Path) -> ProcessIdentity | None:
    """Return the daemon of a home if it runs."""
    try:
        identity = ProcessIdentity(**json.loads(_path(home).read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
    return identity if identity.alive else None


@contextmanager
def recorded(home: Path) -> Iterator[None]:
    """Record this process as the daemon of a home while the block lasts."""
    own = processes.identify(os.getpid())
    assert own is not None  # noqa: S101 - we run
    write_atomically(_path(home), json.dumps(asdict(own)).encode(), private=True)
    try:
        yield
    finally:
        _path(home).unlink(missing_ok=True)


def start(instance: LocalInstance, argv: Sequence[str], timeout_s: float) -> ProcessIdentity:
    """Start the daemon and wait until its workers are started.

    Raises:
        LocalError: it ended, or took longer than `timeout_s`; its log is quoted.
    """
    log = instance.logs / f"{LOG}.log"
    with instance.open_log(LOG) as output:
        already_logged = output.tell()
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + timeout_s
    daemon = None
    try:
        while (daemon := daemon_of(instance.home)) is None:
            if child.poll() is not None or time.monotonic() > deadline:
                said = logs.tail(log, since=already_logged)
                raise LocalError(f"the daemon did not start; {log} says:\n{said or '(nothing)'}")
            time.sleep(processes.POLL_S)
    finally:
        # Interrupted, or another command's daemon was first: this one would take over when that one ends.
        if daemon is None or daemon.pid != child.pid:
            child.terminate()
        if child.returncode is None:
            processes.disown(child)
    return daemon


def stop(instance: LocalInstance) -> bool:
    """Stop the daemon gracefully, with its workers and, unless others use them, its servers.

    Returns:
        Whether there was one.

    Raises:
        TimeoutError: it outlived SIGKILL.
    """
    daemon = daemon_of(instance.home)
    if daemon is None:
        return False
    # Workers stop in two ranks, each with its own time, then the servers.
    processes.end(daemon, (SIGTERM,), 4 * instance.limits.stop_timeout_s)
    return True


def running(home: Path) -> list[LocalProcess]:
    """Return the processes of a home that run: servers, workers, and the daemon."""
    servers = read_record(home).servers
    found = [
        LocalProcess(name=name, kind="server", identity=entry.process)
        for name, entry in servers.items()
        if entry.process is not None
    ]
    if (workers := read_workers(home)) is not None:
        found += [
            LocalProcess(name=name, kind="worker", identity=identity)
            for name, identity in workers.workers.items()
        ]
    if (daemon := daemon_of(home)) is not None:
        found.append(LocalProcess(name=LOG, kind="daemon", identity=daemon))
    return [each for each in found if each.identity.alive]


def command(*arguments: str) -> list[str]:
    """Return the command line of nnlite with this Python."""
    return [sys.executable, "-P", "-m", "nnlite.cli", *arguments]


def _path(home: Path) -> Path:
    return home / "daemon.json"
