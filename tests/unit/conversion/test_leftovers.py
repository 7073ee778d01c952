"""A worker that starts removes the folders of those that were killed, and of nobody else."""

import dataclasses
import tempfile
from pathlib import Path

from nnlite.queue.owner import Instance
from nnlite_conversion.ledger import folder_prefix, remove_leftovers


def folder_of(place: Path, **changes: object) -> Path:
    """The folder of a process that differs from this one in `changes`."""
    owner = dataclasses.replace(Instance.current(), **changes)
    folder = place / f"nnlite-job-{str(owner).replace('/', '-')}-abc_x"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(b"large")
    return folder


def test_folders_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    mine = Path(tempfile.mkdtemp(prefix=folder_prefix(), dir=tmp_path))
    dead = folder_of(tmp_path, start_time=1)
    strangers = [tmp_path / "nnlite-job-", tmp_path / "nnlite-run-1", tmp_path / "ledger"]
    for folder in strangers:
        folder.mkdir()
    assert remove_leftovers(tmp_path, tmp_path / "missing") == [dead]
    assert mine.is_dir()
    assert all(folder.is_dir() for folder in strangers)


def test_what_cannot_be_seen_from_here_is_left_alone(tmp_path: Path) -> None:
    elsewhere = [folder_of(tmp_path, host="other-host"), folder_of(tmp_path, pid_namespace=1)]
    assert remove_leftovers(tmp_path) == []
    assert all(folder.is_dir() for folder in elsewhere)
