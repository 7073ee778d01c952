"""Runs the real app for virtual devices: one warm JVM per API level, which all of a rig share.

`python -m device.rig.runtimes FOLDER` listens on `FOLDER/socket`. A device's app
process connects and sends one request (see `AppHost` in Java, and `level`); it gets
lines of JSON: `out`, a line that `am instrument` prints, `log`, what the app
logged, and at the end `done` or `died`. A request with a level alone is done when
a JVM is ready for it; one with the `key` of a run before gets that run's answer
(`replays`). During the run it may send `show` (the window comes up),
`hold` (the JVM stops) or `kill`. When it ends, a JVM that it holds continues, and
nobody reads the rest of its run.

A JVM starts when a run needs one: none is there, or all are held. All end with
this program, which ends when its standard input does.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app_host import AppHost
from device.rig.namespaces import die_with_parent
from device.rig.replays import Replay
from device.rig.runtimes_process import SOCKET

_DONE: Final = b"DONE"
_CHUNK: Final = 64 * 1024


@dataclass(eq=False)
class _Run:
    """A run of one device's app, and the connection of its process."""

    caller: socket.socket
    unread: bytes = b""
    #: None: not received yet.
    request: Mapping[str, Any] | None = None
    jvm: "_Jvm | None" = None
    is_held: bool = False
    printed: list[str] = field(default_factory=list)

    def send(self, **message: object) -> None:
        with contextlib.suppress(OSError):  # its process has ended
            self.caller.sendall(json.dumps(message).encode() + b"\n")


@dataclass(eq=False)
class _Jvm:
    """A JVM, and the run that it does, if any."""

    host: AppHost
    run: _Run | None = None
    is_ready: bool = False
    unread: bytes = b""

    @property
    def is_free(self) -> bool:
        return self.is_ready and self.run is None

    def signal(self, number: signal.Signals) -> None:
        self.host.process.send_signal(number)


@dataclass
class _Server:
    folder: Path
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    jvms: list[_Jvm] = field(default_factory=list)
    waiting: deque[_Run] = field(default_factory=deque)
    replays: dict[str, Replay] = field(default_factory=dict)

    def serve(self) -> None:
        """Serve until standard input ends."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.folder / SOCKET))
        listener.listen()
        self.selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        print("ready", flush=True)
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data()

    def close(self) -> None:
        """End every JVM."""
        for jvm in self.jvms:
            jvm.host.close()

    def _accept(self, listener: socket.socket) -> None:
        caller, _ = listener.accept()
        run = _Run(caller)
        self.selector.register(caller, selectors.EVENT_READ, lambda: self._receive(run))

    def _receive(self, run: _Run) -> None:
        try:
            data = run.caller.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._end(run)
            return
        *lines, run.unread = (run.unread + data).split(b"\n")
        for line in lines:
            if run.request is None:
                run.request = json.loads(line)
                self.waiting.append(run)
                self._dispatch()
            elif run.jvm is not None:
                self._command(run, run.jvm, line.decode())

    def _command(self, run: _Run, jvm: _Jvm, word: str) -> None:
        if word == "hold":
            run.is_held = True
            jvm.signal(signal.SIGSTOP)
            self._dispatch()
        elif word == "kill":
            jvm.signal(signal.SIGKILL)
        else:
            jvm.host.send(word)

    def _end(self, run: _Run) -> None:
        """Forget a caller; a run that has begun goes on to its end, which others wait for."""
        self.selector.unregister(run.caller)
        run.caller.close()
        if run in self.waiting:
            self.waiting.remove(run)
        if run.is_held and run.jvm is not None:
            run.is_held = False
            run.jvm.signal(signal.SIGCONT)

    def _dispatch(self) -> None:
        """Begin the runs that wait, as far as there are JVMs for them."""
        for run in list(self.waiting):
            assert run.request is not None
            if replay := self.replays.get(run.request.get("key", "")):
                self.waiting.remove(run)
                for line in replay.printed(run.request):
                    run.send(out=line)
                run.send(log=replay.logged(run.request), done=True)
                continue
            level = run.request["level"]
            same = [jvm for jvm in self.jvms if jvm.host.level == level]
            free = next((jvm for jvm in same if jvm.is_free), None)
            if free is not None:
                self.waiting.remove(run)
                self._begin(run, free)
            elif all(jvm.run is not None and jvm.run.is_held for jvm in same):
                self._start(level)

    def _begin(self, run: _Run, jvm: _Jvm) -> None:
        assert run.request is not None
        if "arguments" in run.request:
            jvm.run, run.jvm = run, jvm
            jvm.host.send(json.dumps(run.request))
        else:
            run.send(done=True)

    def _start(self, level: int) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"api{level}-", dir=self.folder))
        jvm = _Jvm(AppHost(level, folder, virtual=True, preexec=die_with_parent))
        assert jvm.host.process.stdout is not None
        self.jvms.append(jvm)
        self.selector.register(jvm.host.process.stdout, selectors.EVENT_READ, lambda: self._read(jvm))

    def _read(self, jvm: _Jvm) -> None:
        assert jvm.host.process.stdout is not None
        data = os.read(jvm.host.process.stdout.fileno(), _CHUNK)
        if not data:
            self._died(jvm)
            return
        *lines, jvm.unread = (jvm.unread + data).split(b"\n")
        for line in lines:
            if jvm.run is None:
                jvm.is_ready = True
            elif line != _DONE:
                jvm.run.printed.append(line.decode())
                jvm.run.send(out=line.decode())
            else:
                self._done(jvm, jvm.run)
        self._dispatch()

    def _done(self, jvm: _Jvm, run: _Run) -> None:
        assert run.request is not None
        log = _text(jvm.host.log)
        if key := run.request.get("key"):
            self.replays[key] = Replay.of(run.request, run.printed, log)
        run.send(log=log, done=True)
        run.jvm = jvm.run = None

    def _died(self, jvm: _Jvm) -> None:
        assert jvm.host.process.stdout is not None
        self.selector.unregister(jvm.host.process.stdout)
        self.jvms.remove(jvm)
        jvm.host.close()
        if not jvm.is_ready:
            # Another would not start either.
            sys.exit(f"no JVM for API {jvm.host.level}: {_text(jvm.host.errors)[-2000:]}")
        if jvm.run is not None:
            jvm.run.send(log=_text(jvm.host.log), died=_text(jvm.host.errors)[-2000:])
            jvm.run.jvm = None
        self._dispatch()


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def main() -> None:
    """Serve until the standard input ends."""
    server = _Server(Path(sys.argv[1]))
    try:
        server.serve()
    finally:
        server.close()


if __name__ == "__main__":
    main()
