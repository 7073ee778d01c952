"""A worker that starts removes the folders of those that were killed, and of nobody else."""

import subprocess
import sys
from pathlib import Path

from nnlite_conversion.isolation.process_registry import job_dir, remove_orphaned_dirs
from waiting import HANG_S

KILLED = """
import os, signal, sys
from pathlib import Path
from nnlite_conversion.isolation.process_registry import job_dir

with job_dir(Path(sys.argv[1])) as folder:
    (folder / "model.tflite").write_bytes(b"large")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folders_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, timeout=HANG_S
    )
    dead = Path(killed.stdout.strip())
    assert (dead / "model.tflite").exists()
    strangers = [tmp_path / "nnlite-run-1", tmp_path / "processes"]
    for folder in strangers:
        folder.mkdir()
    with job_dir(tmp_path) as mine, job_dir(mine) as scratch:
        assert remove_orphaned_dirs(tmp_path, tmp_path / "missing") == [dead]
        assert scratch.is_dir()
        assert all(folder.is_dir() for folder in strangers)
    assert sorted(tmp_path.iterdir()) == sorted(strangers)


def test_a_link_that_bears_such_a_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "nnlite-job-link"
    link.symlink_to(tmp_path / "elsewhere")
    assert remove_orphaned_dirs(tmp_path) == []
    assert link.is_symlink() and (tmp_path / "elsewhere").is_dir()
