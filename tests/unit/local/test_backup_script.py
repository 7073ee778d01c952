"""Repeated backups by `backup.sh`: a dump that fails neither counts nor costs an earlier one."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from nnlite.local.backup import _SCRIPT

# Of a full disk: a part of the dump is written.
FAILING_DUMP = '#!/bin/sh\necho part > "${2#--file=}"\necho "pg_dump: no space left" >&2\nexit 1\n'


@pytest.mark.process
def test_a_failed_dump_is_no_backup_and_earlier_ones_stay(tmp_path: Path) -> None:
    folder, programs = tmp_path / "backups", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    (folder / "nnlite-20260101T000000Z.dump").write_text("good")
    for name, content in (("pg_dump", FAILING_DUMP), ("pg_restore", "#!/bin/sh\n")):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)

    process = subprocess.Popen(
        ["sh", _SCRIPT, "every", "24", folder, "1"],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said = [process.stderr.readline().strip() for _ in range(2)]
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its sleep too
        process.communicate()

    assert said == ["pg_dump: no space left", "no backup was written; the next one is tried in 24 h"]
    assert [file.name for file in folder.glob("nnlite-*.dump")] == ["nnlite-20260101T000000Z.dump"]
