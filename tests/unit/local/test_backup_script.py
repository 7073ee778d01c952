"""Repeated backups by `backup.sh`: a dump that fails neither counts nor costs an earlier one."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nnlite.local.backup import _SCRIPT

# Of a full disk: a part of the dump is written.
FAILING_DUMP = '#!/bin/sh\necho part > "${2#--file=}"\necho "pg_dump: no space left" >&2\nexit 1\n'


DAY_S = 24 * 3600


def lines_of(folder: Path, *, first: int) -> list[str]:
    """Return the first lines of daily backups into `folder`, of which every dump fails."""
    programs = folder.parent / "programs"
    programs.mkdir()
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
        return [process.stderr.readline().strip() for _ in range(first)]
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its sleep too
        process.communicate()


def a_dump(folder: Path, *, age_s: float) -> Path:
    """Return a dump that was written `age_s` ago."""
    folder.mkdir(exist_ok=True)
    dump = folder / "nnlite-20260101T000000Z.dump"
    dump.write_text("good")
    os.utime(dump, (time.time() - age_s,) * 2)
    return dump


@pytest.mark.process
@pytest.mark.parametrize("age_s", [DAY_S + 60, -DAY_S], ids=["older than a day", "of a clock ahead"])
def test_a_failed_dump_is_no_backup_and_earlier_ones_stay(tmp_path: Path, age_s: float) -> None:
    dump = a_dump(tmp_path / "backups", age_s=age_s)
    assert lines_of(dump.parent, first=2) == [
        "pg_dump: no space left",
        "no backup was written; the next one is tried in 24 h",
    ]
    assert [*dump.parent.glob("nnlite-*.dump")] == [dump]


@pytest.mark.process
def test_a_restart_waits_until_the_newest_dump_is_due(tmp_path: Path) -> None:
    dump = a_dump(tmp_path / "backups", age_s=DAY_S / 2 - 1800)
    (line,) = lines_of(dump.parent, first=1)
    said, minutes = line.rsplit(" in ", 1)
    assert said == "the newest dump is younger than 24 h; the next one is written"
    assert 11.5 * 60 < int(minutes.removesuffix(" min")) <= 12.5 * 60
    assert [*dump.parent.iterdir()] == [dump], "nothing was dumped"
