"""Copies of the servers' programs: what is in the way is said in a line."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from nnlite.local import binaries
from nnlite.local.home import LocalError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Copy two files, each of which fails for the same reason; what is raised."""

    def copy(why: str) -> None:
        def fail(*_: object, **__: object) -> None:
            (tmp_path / ".copies").mkdir()
            raise shutil.Error([(name, f"/there/{name}", f"{why}: '{name}'") for name in ("psql", "initdb")])

        monkeypatch.setattr(shutil, "copytree", fail)
        source = tmp_path / "programs"
        source.mkdir()
        binaries._copy(tmp_path / "copies", {source: tmp_path / "copies" / "bin"})

    return copy


def test_a_full_disk_is_an_error_of_the_disk(failing, tmp_path) -> None:
    with pytest.raises(OSError, match="No space left") as full:
        failing(f"[Errno 28] {os.strerror(errno.ENOSPC)}")
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(tmp_path / "copies"))
    assert not (tmp_path / ".copies").exists()


def test_of_many_files_the_first_tells_why(failing) -> None:
    with pytest.raises(LocalError) as refused:
        failing("[Errno 13] Permission denied")
    assert "Permission denied: 'psql'\na file or folder has the wrong owner" in str(refused.value)
    assert "initdb" not in str(refused.value)
