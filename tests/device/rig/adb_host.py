"""An adb server for tests: a private child process without scanning."""

import os
import socket
import subprocess
from pathlib import Path

import adbutils

from waiting import HANG_S, end, wait_until


class AdbHost:
    """One adb server on its own port."""

    def __init__(self, home: Path, port: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        alone = {"ADB_EMU": "0", "ADB_MDNS": "0", "ADB_MDNS_OPENSCREEN": "0", "ADB_USB": "0"}
        self.port = port
        self._log = (home / f"adb-{port}.log").open("wb")
        self.process = subprocess.Popen(
            [adbutils.adb_path(), "-P", str(port), "nodaemon", "server"],
            env={
                "PATH": os.defpath,
                **{k: v for k, v in os.environ.items() if k == "ADB_TRACE"},
                "HOME": str(home),
                **alone,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_until(lambda: _answers(port), "the adb server answers")
        self._client = adbutils.AdbClient(port=port, socket_timeout=HANG_S)

    def announce(self, adb_port: int) -> adbutils.AdbDevice:
        """Announce an emulator to the server, and return its device in any state."""
        with socket.create_connection(("127.0.0.1", self.port), HANG_S) as server:
            request = f"host:emulator:{adb_port}".encode()
            server.sendall(b"%04x%s" % (len(request), request))
            server.recv(4)
        return self._client.device(f"emulator-{adb_port - 1}")

    def connect(self, address: str) -> adbutils.AdbDevice:
        """Connect to a phone on TCP, and return its device in any state."""
        self._client.connect(address)
        return self._client.device(address)

    def state(self, device: adbutils.AdbDevice) -> str:
        """Return the state as `adb devices` shows it; "" where the device is not listed."""
        return next((item.state for item in self._client.list() if item.serial == device.serial), "")

    def wait_for(self, device: adbutils.AdbDevice, state: str) -> None:
        """Wait until the device is in this state."""
        wait_until(lambda: self.state(device) == state, f"{device.serial} is {state or 'gone'}")

    def close(self) -> None:
        """End the server."""
        end(self.process)
        self._log.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), HANG_S).close()
    except ConnectionRefusedError:
        return False
    return True
