"""A process that serves runs of the app on the framework of one Android version; see `AppHost` in Java."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from apk import REPOSITORY
from apk.host import HostApp

#: The app as `make host-app` builds it.
HOST_APP: Final = HostApp(REPOSITORY / "build" / "host-app")
_DONE: Final = "DONE\n"


class AppHost:
    """One warm process; runs follow each other in it."""

    def __init__(
        self,
        level: int,
        folder: Path,
        *,
        app: HostApp = HOST_APP,
        virtual: bool = False,
        preexec: Callable[[], None] | None = None,
    ) -> None:
        """Start it.

        Args:
            level: API level of its framework.
            folder: an empty one, for its log and its `logcat`.
            app: a build of the app.
            virtual: its clocks and files are those of virtual devices.
            preexec: called in the new process.
        """
        self.level = level
        self._is_ready = False
        #: What the app and its runtime have logged during the last run.
        self.log = folder / "log"
        self._no_log = folder / "no-log"
        logcat = folder / "bin" / "logcat"
        logcat.parent.mkdir()
        logcat.write_text(f"#!/bin/sh\n[ -e {self._no_log} ] && exit 1\nexec cat {self.log}\n")
        logcat.chmod(0o755)
        self.errors = folder / "stderr"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                app.command(level, virtual=virtual),
                cwd=app.folder,
                env={"PATH": f"{logcat.parent}:{os.environ['PATH']}", "TMPDIR": str(folder)}
                | dict(app.environment(level, self.log)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=preexec,
            )

    def start(self, request: Mapping[str, Any]) -> Iterator[str]:
        """Start a run of the app; yield the lines that `am instrument` would print.

        Raises:
            ProcessLookupError: the process ends before the run does.
        """
        if not self._is_ready:
            assert not list(self._lines())
            self._is_ready = True
        self.send(json.dumps(request))
        yield from self._lines()

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == _DONE:
                return
            yield line
        raise ProcessLookupError(f"the process ended:\n{self.errors.read_text()[-8000:]}")

    def send(self, line: str) -> None:
        """Send a request, or `show` during a run of a window that is blocked."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def run(self, request: Mapping[str, Any]) -> str:
        """Run the app once, show a blocked window if it asks; return what `am instrument` would print."""
        lines = []
        for line in self.start(request):
            lines.append(line)
            if line == "INSTRUMENTATION_STATUS_CODE: 3\n":
                self.send("show")
        return "".join(lines)

    def logcat(self, *, works: bool) -> None:
        """Let the app read its log, or not."""
        if works:
            self._no_log.unlink(missing_ok=True)
        else:
            self._no_log.touch()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
