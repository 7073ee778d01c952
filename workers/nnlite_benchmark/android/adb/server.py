"""The worker's own adb server: a foreground child process that sees one device only.

A private port is not enough: every server attaches every device that it finds.
So scanning for emulators, mDNS and (except for phones) USB are switched off, and
a phone's server is restricted to its serial. Clients connect by socket only,
because the `adb` command starts a daemon when no server answers.
"""

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import adbutils
import psutil

from nnlite.errors import Stopped
from nnlite.host.child_process import OwnedProcess, environment_without_settings
from nnlite.host.locks import FileLock, LockTimeout
from nnlite.settings import SettingsError
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.client import AdbClient
from nnlite_benchmark.device import DeviceFailure

_POLL_S: Final = 0.05
_STOP_TIMEOUT_S: Final = 3.0
#: A server that loses the race for its port is started again on another.
_TRIES: Final = 3
_KEYGEN_TIMEOUT_S: Final = 30.0


class AdbServer:
    """An adb server on a private port, from `start` to `stop`."""

    def __init__(
        self, settings: AndroidSettings, home: Path, folder: Path, *, usb_serial: str | None = None
    ) -> None:
        """Configure the server; nothing is started yet.

        Args:
            settings: the adb program and its deadlines.
            home: NNLITE_HOME, with the adb key that all workers of the installation share.
            folder: of this device; becomes the server's HOME.
            usb_serial: the only USB device that it may see; None: no USB at all.
        """
        self.program: Final = adb_program(settings)
        self._settings = settings
        self._home = home
        self._folder = folder
        self._usb_serial = usb_serial
        self._process = OwnedProcess("adb-server", folder)
        self.client = AdbClient(0, settings.command_timeout_s)

    @property
    def port(self) -> int:
        """Port on loopback; 0 before the first start."""
        return self.client.port

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive

    @property
    def pid(self) -> int | None:
        """PID of the process while it runs."""
        return self._process.pid

    def start(self, stop: threading.Event) -> None:
        """Start or restart the server and wait until it answers.

        Raises:
            DeviceFailure: `adb_server_gone`: it does not come up.
            Stopped: `stop` was set during the wait.
        """
        try:
            self.stop()
            if self._comes_up(stop):
                return
            problem = f"does not come up within {self._settings.server_timeout_s:g} s"
        except (OSError, subprocess.SubprocessError, LockTimeout) as error:
            problem = str(error)
        raise DeviceFailure(
            Fault.ADB_SERVER_GONE,
            Stage.PREPARE,
            f"{self.program} as a server: {problem}",
            {"log": self._process.log_tail()},
        )

    def stop(self) -> None:
        """Stop the server."""
        self._process.stop(_STOP_TIMEOUT_S)

    def end_leftover(self) -> None:
        """Stop a server that a killed worker of this device left running."""
        self._process.end_orphan()

    def _comes_up(self, stop: threading.Event) -> bool:
        """Start it on its previous port (the emulator's environment names it), else on a free one."""
        key = self._own_key()
        only = ["--one-device", self._usb_serial] if self._usb_serial else []
        for port in [*([self.port] if self.port else []), *(_free_port() for _ in range(_TRIES))]:
            self._process.start(
                [str(self.program), "-P", str(port), *only, "nodaemon", "server"],
                self._environment(port, key),
            )
            self.client.port = port
            if self._answers(stop):
                return True
        return False

    def _answers(self, stop: threading.Event) -> bool:
        def check_cancelled() -> None:
            if stop.is_set():
                raise Stopped("stopped while the adb server starts")

        limit_s = self._settings.server_timeout_s
        client, deadline_s = AdbClient(self.port, limit_s, check_cancelled), time.monotonic() + limit_s
        while time.monotonic() < deadline_s and self._process.alive:
            # Another worker's server may have taken the port first: then ours is about to exit.
            if client.is_answered() and self._listens():
                return True
            stop.wait(_POLL_S)
            check_cancelled()
        return False

    def _listens(self) -> bool:
        with suppress(psutil.Error):
            sockets = psutil.Process(self._process.pid or 0).net_connections("tcp")
            return any(s.status == psutil.CONN_LISTEN and s.laddr.port == self.port for s in sockets)
        return False

    def _environment(self, port: int, key: Path) -> dict[str, str]:
        vendor_keys = [str(key), *filter(None, [os.environ.get("ADB_VENDOR_KEYS")])]
        return (
            environment_without_settings()
            | {
                "HOME": str(self._folder),
                "ANDROID_ADB_SERVER_PORT": str(port),
                "ADB_VENDOR_KEYS": os.pathsep.join(vendor_keys),
                "ADB_EMU": "0",
                "ADB_MDNS": "0",
                "ADB_MDNS_OPENSCREEN": "0",
            }
            | ({} if self._usb_serial else {"ADB_USB": "0"})
        )

    def _own_key(self) -> Path:
        """Return the installation's adb key, which phones authorize: created once, copied to our HOME.

        The lock is needed because two servers that start on a new home would each create a key.
        """
        shared = self._home / "adb" / "adbkey"
        shared.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(shared.parent / "lock") as lock:
            lock.exclusive(2 * _KEYGEN_TIMEOUT_S)
            if not shared.exists():
                new = shared.with_name("adbkey.new")
                subprocess.run(
                    [str(self.program), "keygen", str(new)],
                    check=True,
                    capture_output=True,
                    timeout=_KEYGEN_TIMEOUT_S,
                    env={**os.environ, "HOME": str(self._folder)},
                )
                # Atomic: a half-written key would be used from then on.
                new.with_name("adbkey.new.pub").replace(shared.with_name("adbkey.pub"))
                new.replace(shared)
        own = self._folder / ".android"
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("adbkey", "adbkey.pub"):
            if shared.with_name(name).exists():
                shutil.copy(shared.with_name(name), own / name)
        return shared


def adb_program(settings: AndroidSettings) -> Path:
    """Return the adb program to use.

    Raises:
        SettingsError: NNLITE_ANDROID__ADB is not executable.
    """
    if settings.adb is None:
        return Path(adbutils.adb_path())
    if not os.access(settings.adb, os.X_OK):
        raise SettingsError(
            f"NNLITE_ANDROID__ADB={settings.adb}: not a program; leave it empty to use the bundled adb"
        )
    return settings.adb


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
