"""Registry of running conversion processes and their folders, for the cleanup after a worker that was killed.

A worker registers each process group while it supervises it (one pidfile per group), and locks each folder
that it creates. A worker that starts kills the registered groups and removes the folders whose worker is
gone.
"""

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from nnlite.host import processes
from nnlite.host.files import write_atomically
from nnlite.host.locks import FileLock

#: Folder of the pidfiles; named as in 0.1, whose orphans must be found after an upgrade.
FOLDER = "ledger"


class RegisteredGroup(BaseModel):
    """A process group and the worker that supervises it, as a pidfile stores them."""

    model_config = ConfigDict(frozen=True)

    boot_id: str
    #: Namespace of all PIDs below; containers may share a registry.
    pid_namespace: int
    group: int
    #: Clock ticks between boot and the start of the group's first process.
    group_start_time: int
    session: int
    worker: int
    worker_start_time: int


@contextmanager
def registered(workdir: Path, group: int) -> Iterator[None]:
    """Keep a pidfile of `group`, which this process supervises, while inside the context."""
    leader, worker = processes.living(group), processes.living(os.getpid())
    if leader is None or worker is None:
        yield  # it has already ended
        return
    entry = RegisteredGroup(
        boot_id=processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        group=group,
        group_start_time=leader.start_ticks,
        session=leader.session,
        worker=worker.pid,
        worker_start_time=worker.start_ticks,
    )
    registry = workdir / FOLDER
    registry.mkdir(parents=True, exist_ok=True)
    path = registry / f"{group}-{leader.start_ticks}.json"
    write_atomically(path, entry.model_dump_json())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def kill_orphans(workdir: Path) -> list[int]:
    """Kill the registered groups whose worker is gone; return their IDs.

    Not killed are groups of a living worker (workers may share a registry), groups of other containers, which
    end with their container, and groups whose ID the kernel has reused.
    """
    killed: list[int] = []
    registry = workdir / FOLDER
    boot, namespace = processes.boot_id(), processes.pid_namespace()
    for path in sorted(registry.glob("*.json")) if registry.is_dir() else []:
        entry = _read(path)
        if entry is not None and entry.boot_id == boot:
            if entry.pid_namespace != namespace or _runs(entry.worker, entry.worker_start_time):
                continue
            if _is_same_group(entry):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(entry.group, signal.SIGKILL)
                    killed.append(entry.group)
        path.unlink(missing_ok=True)
    return killed


@contextmanager
def job_dir(place: Path) -> Iterator[Path]:
    """Create a private folder in `place` and remove it at the end, or in the next worker if this one dies.

    The folder is renamed to `nnlite-job-*` after it is locked, and the kernel releases the lock when this
    process ends. So a folder of that name whose lock is free, seen from any container, is in use by nobody.
    """
    unnamed = Path(tempfile.mkdtemp(prefix="nnlite-new-", dir=place))
    with FileLock.on_folder(unnamed) as lock:
        with contextlib.suppress(OSError):  # no locks on this file system: nobody can take it to remove it
            lock.try_shared()
        folder = unnamed.rename(unnamed.with_name(unnamed.name.replace("-new-", "-job-", 1)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_orphaned_dirs(*places: Path) -> list[Path]:
    """Remove the job folders in `places` whose worker is gone."""
    removed: list[Path] = []
    for place in places:
        for folder in sorted(place.glob("nnlite-job-*")) if place.is_dir() else []:
            if _unused(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _unused(folder: Path) -> bool:
    try:
        with FileLock.on_folder(folder) as lock:
            return lock.try_exclusive()
    except OSError:
        return False  # gone, or another account's, or a file system without such locks


def _read(path: Path) -> RegisteredGroup | None:
    try:
        return RegisteredGroup.model_validate(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, ValidationError):
        return None  # removed by another worker, or truncated by a power failure


def _runs(pid: int, start_time: int) -> bool:
    return processes.start_ticks(pid) == start_time


def _is_same_group(entry: RegisteredGroup) -> bool:
    if _runs(entry.group, entry.group_start_time):
        return True
    # Its leader has ended; the ID is not reused as long as one member lives.
    living = filter(None, map(processes.living, psutil.pids()))
    members = [process for process in living if process.group == entry.group]
    return bool(members) and all(
        member.session == entry.session
        and member.start_ticks >= entry.group_start_time
        and member.pid != entry.group
        for member in members
    )
