"""Answers of the app that serve again: a run that is equal to one before gets what the app answered then.

A run's time is the device's own, so that equal runs have equal answers; what differs is
written anew: paths, the run's name, its process and the time of day.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_AT = re.compile(r'"at":"[^"]*"')


@dataclass(frozen=True)
class Replay:
    """What the app printed, logged and wrote."""

    request: Mapping[str, Any]
    lines: Sequence[str]
    log: str
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, request: Mapping[str, Any], lines: Sequence[str], log: str) -> "Replay":
        """Return the answer of a run that has just ended; its files are still there."""
        folder = _folder(request)
        files = {file.name: file.read_bytes() for file in folder.iterdir()} if folder.is_dir() else {}
        return cls(request, tuple(lines), log, files)

    def printed(self, request: Mapping[str, Any]) -> list[str]:
        """Write the files of an equal run, and return what it prints."""
        folder = _folder(request)
        if self.files:
            folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        at = datetime.now(UTC) + timedelta(seconds=request["offset_s"])
        now = f'"at":"{at.isoformat(timespec="milliseconds").removesuffix("+00:00")}Z"'
        return [_AT.sub(now, self._renamed(line, request)) for line in self.lines]

    def logged(self, request: Mapping[str, Any]) -> str:
        """Return what an equal run logs."""
        return self._renamed(self.log, request)

    def _renamed(self, text: str, request: Mapping[str, Any]) -> str:
        pid = "INSTRUMENTATION_STATUS: pid="
        if text.startswith(pid):
            return f"{pid}{request['pid']}"
        for name in ("model", "inputs", "run"):
            if before := self.request["arguments"].get(name):
                text = text.replace(before, request["arguments"][name])
        return text.replace(self.request["storage"], request["storage"])


def _folder(request: Mapping[str, Any]) -> Path:
    """Return where the app writes the files of a run, from API 29 on."""
    media = Path(request["storage"]) / "Android/media/org.nnlite.benchmark"
    return media / request["arguments"]["run"]
