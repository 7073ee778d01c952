"""Starts app processes, as on Android by forking.

The zygote reports an app's end to the process that waits for it, and writes the
tombstone of an app that a signal killed.
"""

import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.rig import app
from device.rig.faults import FaultBox
from device.rig.logs import log, now_s
from device.rig.properties import FOLDER as PROPERTIES

SOCKET = "/dev/socket/zygote"
#: Folder with the PIDs of running apps, one file each.
APPS = Path("/dev/app")
PACKAGE = "org.nnlite.benchmark"
CRASHED = "INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n"


@dataclass(frozen=True, kw_only=True)
class _App:
    package: str
    caller: socket.socket


def start(faults: Path) -> None:
    """Fork the zygote; it listens when this returns."""
    with suppress(FileNotFoundError):
        Path(SOCKET).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    listener.listen(16)
    if os.fork() == 0:
        try:
            _Zygote(listener, FaultBox(faults)).run()
        finally:
            traceback.print_exc()
            os._exit(1)
    listener.close()


class _Zygote:
    def __init__(self, listener: socket.socket, faults: FaultBox) -> None:
        self._listener = listener
        self._faults = faults
        self._apps: dict[int, _App] = {}

    def run(self) -> None:
        _only_descriptors({0, 1, 2, self._listener.fileno()})
        wakeup, signalled = socket.socketpair()
        for end in (wakeup, signalled):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled.fileno())
        selector = selectors.DefaultSelector()
        selector.register(wakeup, selectors.EVENT_READ)
        selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is wakeup:
                    with suppress(BlockingIOError):
                        wakeup.recv(4096)
                    self._reap()
                else:
                    caller, _ = self._listener.accept()
                    self._launch(caller)

    def _launch(self, caller: socket.socket) -> None:
        request = json.loads(caller.makefile("r").readline())
        package = request["package"]
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)  # until its PID can be found
            self._become_app(request, caller)
        (APPS / package).write_text(f"{pid}\n")
        self._apps[pid] = _App(package=package, caller=caller)
        os.close(reading)
        os.close(writing)

    def _become_app(self, request: dict[str, Any], caller: socket.socket) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._listener.close()
            for other in self._apps.values():
                other.caller.close()
            app.run(request, caller, self._faults)
            code = 0
        except BaseException:  # noqa: BLE001 - a fork never returns into the code of its parent
            log("crash", "E", "AndroidRuntime", traceback.format_exc(), faults=self._faults)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._apps.pop(pid, None)
            if ended is None:
                continue
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
                self._tombstone(ended.package, pid, signal.Signals(os.WTERMSIG(status)))
            with suppress(OSError):
                if (APPS / ended.package).read_text().strip() == str(pid):
                    (APPS / ended.package).unlink()
            with suppress(OSError):
                if status != 0:
                    ended.caller.sendall(CRASHED.encode())
                ended.caller.shutdown(socket.SHUT_RDWR)
            ended.caller.close()

    def _tombstone(self, package: str, pid: int, number: signal.Signals) -> None:
        """Log a native crash as Android 11 does (source.android.com/docs/core/tests/debug/native-crash)."""
        library = app.CULPRIT.read_text() if app.CULPRIT.exists() else "libnnlite.so"
        app.CULPRIT.unlink(missing_ok=True)
        thread = package[-15:]
        what = f"signal {number.value} ({number.name}), code 1 (SEGV_MAPERR), fault addr 0x0"
        if number is not signal.SIGSEGV:
            what = f"signal {number.value} ({number.name}), code -6 (SI_TKILL), fault addr --------"
        place = f"/data/app/~~cmlnLXJpZy1yaWctcmln==/{package}-cmlnLXJpZy1yaWctcmlnLQ==/lib/x86_64/{library}"
        log(
            "crash",
            "F",
            "libc",
            f"Fatal {what} in tid {pid} ({thread}), pid {pid} ({thread})",
            faults=self._faults,
            pid=pid,
        )
        lines = [
            "*** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***",
            f"Build fingerprint: '{(PROPERTIES / 'ro.build.fingerprint').read_text()}'",
            "Revision: '0'",
            "ABI: 'x86_64'",
            time.strftime("Timestamp: %Y-%m-%d %H:%M:%S+0000", time.gmtime(now_s(self._faults))),
            f"pid: {pid}, tid: {pid}, name: {thread}  >>> {package} <<<",
            "uid: 10155",
            what,
            "    rax 0000000000000000  rbx 00007ffc3a1e2f40  rcx 0000000000000000  rdx 0000000000000001",
            "backtrace:",
            f"      #00 pc 00000000001a2f3c  {place} (BuildId: 0123456789abcdef0123456789abcdef)",
            f"      #01 pc 00000000001a1b80  {place} (BuildId: 0123456789abcdef0123456789abcdef)",
        ]
        log("crash", "F", "DEBUG", "\n".join(lines), faults=self._faults, pid=pid + 1)


def _only_descriptors(keep: set[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in keep:
            with suppress(OSError):
                os.close(int(entry.name))
    sys.stdout.flush()
