"""`workers.json`: the workers of a supervisor, so that orphans of a dead one are ended.

Workers get SIGTERM from the kernel when their supervisor dies, and stop gracefully.
Those that do not are killed by the server daemon, or by the next supervisor of the home.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from nnlite.host import processes
from nnlite.host.files import write_atomically
from nnlite.host.processes import ProcessIdentity


@dataclass(frozen=True, kw_only=True)
class WorkersRecord:
    """The content of `workers.json`."""

    #: The supervisor.
    owner: ProcessIdentity
    #: By name; each leads a process session of its own.
    workers: dict[str, ProcessIdentity]


def _path(home: Path) -> Path:
    return home / "workers.json"


def write_workers(home: Path, owner: ProcessIdentity, workers: Mapping[str, ProcessIdentity]) -> None:
    """Record a supervisor and its workers."""
    record = WorkersRecord(owner=owner, workers=dict(workers))
    write_atomically(_path(home), json.dumps(asdict(record)), private=True, durable=True)


def read_workers(home: Path) -> WorkersRecord | None:
    """Return the recorded workers; None if there are none, or the file is damaged."""
    try:
        document = json.loads(_path(home).read_text())
        return WorkersRecord(
            owner=ProcessIdentity(**document["owner"]),
            workers={name: ProcessIdentity(**worker) for name, worker in document["workers"].items()},
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def forget_workers(home: Path) -> None:
    """Record that no workers run."""
    _path(home).unlink(missing_ok=True)


def end_orphans(home: Path, timeout_s: float) -> None:
    """Wait until a dead supervisor's workers have stopped; kill those left after `timeout_s`."""
    record = read_workers(home)
    if record is None or record.owner.alive:
        return
    deadline = time.monotonic() + timeout_s
    for worker in record.workers.values():
        worker.wait(max(0.0, deadline - time.monotonic()))
        processes.kill_session(worker, timeout_s)
    forget_workers(home)


class OrphanWatch:
    """Gives workers of a dead supervisor time to stop gracefully, then kills them; never blocks."""

    def __init__(self, home: Path, grace_s: float) -> None:
        self._home = home
        self._grace_s = grace_s
        self._orphaned_at: float | None = None

    def check(self) -> bool:
        """Kill orphans whose time is over; return whether there are others."""
        record = read_workers(self._home)
        if record is None or record.owner.alive:
            self._orphaned_at = None
            return False
        if self._orphaned_at is None:
            self._orphaned_at = time.monotonic()
        left = [worker for worker in record.workers.values() if processes.session_members(worker)]
        if left and time.monotonic() < self._orphaned_at + self._grace_s:
            return True
        for worker in left:
            with contextlib.suppress(TimeoutError):
                processes.kill_session(worker, self._grace_s)
        forget_workers(self._home)
        return False
