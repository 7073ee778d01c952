"""Notes about running conversions, for the successor of a worker that was killed.

A worker notes each process group before it supervises it and forgets it
when it has ended. Whoever starts in its place ends what the notes still name.
"""

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nnlite.queue.owner import Instance
from nnlite_conversion import processes

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Note(BaseModel):
    """One process group, and the worker that supervises it."""

    model_config = ConfigDict(frozen=True)

    boot_id: str
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

    Groups of a living worker are left alone, so workers may share a ledger.
    A group whose number the kernel has given to somebody else since is left alone too.
    """
    killed: list[int] = []
    for path in sorted(ledger.glob("*.json")) if ledger.is_dir() else []:
        note = _read(path)
        if note is not None and _alive(note.worker, note.worker_start_time) and note.boot_id == _boot_id():
            continue
        if note is not None and note.boot_id == _boot_id() and _still_the_same_group(note):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(note.group, signal.SIGKILL)
                killed.append(note.group)
        path.unlink(missing_ok=True)
    return killed


def folder_prefix() -> str:
    """Return how the names of this process's folders begin: they say whose they are."""
    return f"nnlite-job-{str(Instance.current()).replace('/', '-')}-"


def remove_leftovers(*places: Path) -> list[Path]:
    """Remove the folders in `places` whose process is gone, as far as that can be seen from here."""
    removed: list[Path] = []
    for place in places:
        for folder in sorted(place.glob("nnlite-job-*")) if place.is_dir() else []:
            owner = re.match(r"nnlite-job-(.+)-(\d+)-(\d+)-(\d+)-[^-]*$", folder.name)
            if owner and Instance.parse("/".join(owner.groups())).is_dead():
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


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
