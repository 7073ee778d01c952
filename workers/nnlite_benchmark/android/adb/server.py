"""The worker's own adb server: a child in the foreground that sees one device and no other.

A port of one's own is not enough: every server attaches every device that it
finds, so scanning for emulators, mDNS and (but for phones) USB are switched
off, and a phone's server is told its serial. Everybody else speaks to it by
socket only, because an `adb` client starts a daemon when none answers.
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
from nnlite.host.locks import FileLock, LockTimeout
from nnlite.settings import SettingsError
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.adb.client import Wire
from nnlite_benchmark.android.emulator.owned_process import OwnedProcess
from nnlite_benchmark.device import DeviceFailure

_POLL_S: Final = 0.05
_STOP_TIMEOUT_S: Final = 3.0
#: A server that loses the race for its port is started again on another.
_TRIES: Final = 3
_KEYGEN_TIMEOUT_S: Final = 30.0


class AdbServer:
    """An adb server on a port of its own, as long as `start` to `stop`."""

    def __init__(
        self, settings: AndroidSettings, home: Path, folder: Path, *, usb_serial: str | None = None
    ) -> None:
        """Describe the server.

        Args:
            settings: the adb program and its deadlines.
            home: of nnlite; has the one key by which all workers are known to phones.
            folder: of this device; becomes the server's HOME.
            usb_serial: the one phone on USB that it may see; None: no USB at all.
        """
        self.program: Final = adb_program(settings)
        self._settings = settings
        self._home = home
        self._folder = folder
        self._usb_serial = usb_serial
        self._process = OwnedProcess("adb-server", folder)
        self.wire = Wire(0, settings.command_timeout_s)

    @property
    def port(self) -> int:
        """Where it listens, on loopback; 0 before the first start."""
        return self.wire.port

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process.alive

    @property
    def pid(self) -> int | None:
        """Of its process, while it runs."""
        return self._process.pid

    def start(self, stop: threading.Event) -> None:
        """Start it, or start it anew, and wait until it answers.

        Raises:
            DeviceFailure: `adb_server_gone`: it does not come up.
            Stopped: `stop` was set meanwhile.
        """
        try:
            self.stop()
            if self._comes_up(stop):
                return
            why = f"does not come up within {self._settings.server_timeout_s:g} s"
        except (OSError, subprocess.SubprocessError, LockTimeout) as error:
            why = str(error)
        raise DeviceFailure(
            Fault.ADB_SERVER_GONE,
            Stage.PREPARE,
            f"{self.program} as a server: {why}",
            {"log": self._process.log_tail()},
        )

    def stop(self) -> None:
        """End it."""
        self._process.stop(_STOP_TIMEOUT_S)

    def end_leftover(self) -> None:
        """End the server of a worker of this device that was killed."""
        self._process.end_leftover()

    def _comes_up(self, stop: threading.Event) -> bool:
        """Start it where it was before, as the emulator's environment says, or where there is room."""
        key = self._own_key()
        only = ["--one-device", self._usb_serial] if self._usb_serial else []
        for port in [*([self.port] if self.port else []), *(_free_port() for _ in range(_TRIES))]:
            self._process.start(
                [str(self.program), "-P", str(port), *only, "nodaemon", "server"],
                self._environment(port, key),
            )
            self.wire.port = port
            if self._answers(stop):
                return True
        return False

    def _answers(self, stop: threading.Event) -> bool:
        def look() -> None:
            if stop.is_set():
                raise Stopped("stopped while the adb server starts")

        limit_s = self._settings.server_timeout_s
        wire, deadline_s = Wire(self.port, limit_s, look), time.monotonic() + limit_s
        while time.monotonic() < deadline_s and self._process.alive:
            # Another worker's server may have been quicker to take the port: then ours is about to end.
            if wire.is_answered() and self._listens():
                return True
            stop.wait(_POLL_S)
            look()
        return False

    def _listens(self) -> bool:
        with suppress(psutil.Error):
            sockets = psutil.Process(self._process.pid or 0).net_connections("tcp")
            return any(s.status == psutil.CONN_LISTEN and s.laddr.port == self.port for s in sockets)
        return False

    def _environment(self, port: int, key: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")}
        vendor_keys = [str(key), *filter(None, [os.environ.get("ADB_VENDOR_KEYS")])]
        return (
            kept
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
        """Return the key by which phones know this installation; made once, copied into our HOME.

        Two servers that start on one fresh home would each make a key, and one would be lost.
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
                # Whole or not at all: half a key would be used for ever.
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
        SettingsError: the one that the settings name is none.
    """
    if settings.adb is None:
        return Path(adbutils.adb_path())
    if not os.access(settings.adb, os.X_OK):
        raise SettingsError(f"NNLITE_ANDROID__ADB={settings.adb}: not a program; leave it empty for our own")
    return settings.adb


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
