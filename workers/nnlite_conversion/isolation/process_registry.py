"""Notes about running conversions, for the successor of a worker that was killed.

A worker notes each process group before it supervises it and forgets it
when it has ended. Whoever starts in its place ends what the notes still name.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nnlite.queue.owner import Instance
from nnlite_conversion.isolation import process_tree as processes

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Note(BaseModel):
    """One process group, and the worker that supervises it."""

    model_config = ConfigDict(frozen=True)

    boot_id: str
    #: In which all the numbers below are valid; containers share a ledger.
    pid_namespace: int
    group: int
    #: Clock ticks between boot and the start of the group's first process.
    group_start_time: int
    session: int
    worker: int
    worker_start_time: int


@contextmanager
def noted(ledger: Path, group: int) -> Iterator[None]:
    """Note `group`, which this process supervises, for the length of the context."""
    leader, worker = processes.identity(group), processes.identity(os.getpid())
    if leader is None or worker is None:
        yield  # it has already ended
        return
    note = Note(
        boot_id=_boot_id(),
        pid_namespace=Instance.current().pid_namespace,
        group=group,
        group_start_time=leader.start_time,
        session=leader.session,
        worker=worker.pid,
        worker_start_time=worker.start_time,
    )
    ledger.mkdir(parents=True, exist_ok=True)
    path = ledger / f"{group}-{leader.start_time}.json"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(note.model_dump_json())
    unfinished.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def kill_leftovers(ledger: Path) -> list[int]:
    """End the noted groups whose worker is gone; return their numbers.

    Groups of a living worker are left alone, so workers may share a ledger, and
    so are those of other containers, which end with their container.
    A group whose number the kernel has given to somebody else since is left alone too.
    """
    killed: list[int] = []
    here = Instance.current().pid_namespace
    for path in sorted(ledger.glob("*.json")) if ledger.is_dir() else []:
        note = _read(path)
        if note is not None and note.boot_id == _boot_id():
            if note.pid_namespace != here or _alive(note.worker, note.worker_start_time):
                continue
            if _still_the_same_group(note):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(note.group, signal.SIGKILL)
                    killed.append(note.group)
        path.unlink(missing_ok=True)
    return killed


@contextmanager
def own_folder(place: Path) -> Iterator[Path]:
    """Make a folder in `place` and remove it at the end; if this process is killed, a successor does.

    It has its name only once it is locked, and the kernel frees the lock when
    this process dies: whoever can take it sees, from any container, that nobody uses the folder.
    """
    unnamed = Path(tempfile.mkdtemp(prefix="nnlite-new-", dir=place))
    lock = os.open(unnamed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without such locks; then nobody can take it either
            fcntl.flock(lock, fcntl.LOCK_SH)
        folder = unnamed.rename(unnamed.with_name(unnamed.name.replace("-new-", "-job-", 1)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def remove_leftovers(*places: Path) -> list[Path]:
    """Remove the folders in `places` that nobody uses any more."""
    removed: list[Path] = []
    for place in places:
        for folder in sorted(place.glob("nnlite-job-*")) if place.is_dir() else []:
            if _unused(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _unused(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False  # gone, or another account's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _read(path: Path) -> Note | None:
    try:
        return Note.model_validate(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, ValidationError):
        return None  # taken by another worker, or torn by a power cut: no group to trust


def _alive(pid: int, start_time: int) -> bool:
    found = processes.identity(pid)
    return found is not None and found.start_time == start_time


def _still_the_same_group(note: Note) -> bool:
    if _alive(note.group, note.group_start_time):
        return True
    # Its leader has ended; the number stays taken as long as one member lives.
    members = processes.members_of(note.group)
    return bool(members) and all(
        member.session == note.session
        and member.start_time >= note.group_start_time
        and member.pid != note.group
        for member in members
    )


def _boot_id() -> str:
    return BOOT_ID.read_text().strip()
