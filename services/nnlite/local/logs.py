"""Log files of the processes that this machine runs: appended to, bounded, quoted in errors."""

import shutil
from pathlib import Path


def bound(path: Path, max_bytes: int) -> None:
    """Set a log aside as `<name>.1` when it is larger than `max_bytes`.

    It is copied and emptied, not renamed, because its writer keeps it open
    (for appending: it goes on at the new end). Lines written in between are lost.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return
    except FileNotFoundError:
        return
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+") as log:
        log.truncate(0)


def size(path: Path) -> int:
    """Return the length of a log in bytes, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def tail(path: Path, since: int = 0, lines: int = 8) -> str:
    """Return the last lines of a log, none of those before the offset `since`."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, size(path) - 16_384))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
