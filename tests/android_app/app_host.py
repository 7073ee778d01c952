"""A process that serves runs of the app on the framework of one Android version; see `AppHost` in Java."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from apk.host import HostApp

_DONE = "DONE\n"


def levels() -> list[int]:
    """Return the API levels to run on."""
    return [int(level) for level in os.environ.get("NNLITE_ANDROID_LEVELS", "30").split()]


class AppHost:
    """One warm process; runs follow each other in it."""

    def __init__(self, app: HostApp, level: int, folder: Path) -> None:
        """Start it; `folder` is empty, for its log and its `logcat`."""
        self.level = level
        self._no_log = folder / "no-log"
        log, logcat = folder / "log", folder / "bin" / "logcat"
        logcat.parent.mkdir()
        logcat.write_text(f"#!/bin/sh\n[ -e {self._no_log} ] && exit 1\nexec cat {log}\n")
        logcat.chmod(0o755)
        self._errors = folder / "stderr"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                app.command(level),
                env={"PATH": f"{logcat.parent}:{os.environ['PATH']}", "TMPDIR": str(folder)}
                | dict(app.environment(level, log)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def run(self, request: Mapping[str, Any]) -> str:
        """Run the app once and return what `am instrument` would print."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line == _DONE:
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the process ended:\n{self._errors.read_text()[-8000:]}")

    def logcat(self, *, works: bool) -> None:
        """Let the app read its log, or not."""
        if works:
            self._no_log.unlink(missing_ok=True)
        else:
            self._no_log.touch()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()
