"""A worker that starts removes the job folders of killed workers, and no others."""

import subprocess
import sys
from pathlib import Path

from nnlite_conversion.isolation.process_registry import FOLDER, job_dir, remove_orphaned_dirs
from waiting import HANG_S

KILLED = Path(__file__).parent / "programs" / "killed_in_job_dir.py"


def test_job_dirs_of_killed_workers_are_removed_and_others_are_kept(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, KILLED, tmp_path], capture_output=True, text=True, timeout=HANG_S
    )
    dead = Path(killed.stdout.strip())
    assert (dead / "model.tflite").exists()
    others = [tmp_path / "nnlite-run-1", tmp_path / FOLDER]
    for folder in others:
        folder.mkdir()
    with job_dir(tmp_path) as mine, job_dir(mine) as scratch:
        assert remove_orphaned_dirs(tmp_path, tmp_path / "missing") == [dead]
        assert scratch.is_dir()
        assert all(folder.is_dir() for folder in others)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_symlink_with_the_name_of_a_job_dir_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "nnlite-job-link"
    link.symlink_to(tmp_path / "elsewhere")
    assert remove_orphaned_dirs(tmp_path) == []
    assert link.is_symlink() and (tmp_path / "elsewhere").is_dir()
