"""Log files of local processes: rotated, and quoted in errors."""

import json
import shutil
from pathlib import Path


def rotate(path: Path, max_bytes: int) -> None:
    """Move a log's content to `<name>.1` if it is larger than `max_bytes`.

    It is copied and truncated, not renamed, because its writer keeps it open for
    appending. Lines written in between are lost.
    """
    if size(path) <= max_bytes:
        return
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+") as log:
        log.truncate(0)


def size(path: Path) -> int:
    """Return the size of a log in bytes, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def tail(path: Path, since: int = 0, lines: int = 8) -> str:
    """Return the last lines of a log, none from before the offset `since`."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, size(path) - 16_384))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def last_message(path: Path) -> str:
    """Return the last message of a log, without what else its line has; empty where there is none."""
    line = tail(path, lines=1)
    try:
        return str(json.loads(line)["event"])
    except (ValueError, TypeError, KeyError):
        return line
