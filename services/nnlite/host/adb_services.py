"""Client of the host services of an adb server that already runs; it never starts one.

A request and its answer are strings after four hexadecimal digits of length; the
server sends `OKAY` or `FAIL` before its answer
(https://android.googlesource.com/platform/packages/modules/adb/+/refs/heads/main/docs/dev/services.md).
Nothing here needs adbutils, whose client starts a server where there is none.
"""

import os
import re
import socket
from dataclasses import dataclass

DEFAULT_PORT = 5037
_TIMEOUT_S = 3.0
_MAX_BYTES = 1 << 20
#: Serial, state, and further attributes.
_LINE = re.compile(r"(\S+)\s+(\S.*?)((?:\s+(?:usb|product|model|device|features|transport_id):\S+)*)")


class AdbRefusedError(OSError):
    """The adb server answered `FAIL`; the message is its reason."""


@dataclass(frozen=True, kw_only=True)
class AttachedDevice:
    """One device as an adb server lists it."""

    serial: str
    #: `device`, `offline`, `unauthorized`, ...
    state: str
    #: None: the server does not know it.
    model: str | None = None


def server_port() -> int:
    """Return the port on which adb programs of this environment look for their server.

    Raises:
        ValueError: ANDROID_ADB_SERVER_PORT is not a port.
    """
    port = os.environ.get("ANDROID_ADB_SERVER_PORT") or str(DEFAULT_PORT)
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"ANDROID_ADB_SERVER_PORT={port} is not a port; the usual one is {DEFAULT_PORT}")
    return int(port)


def attached_devices(port: int) -> list[AttachedDevice] | None:
    """Return the devices of the adb server on `port`, or None if none answers there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
            return list_devices(connection)
    except (OSError, ValueError):
        return None


def list_devices(connection: socket.socket) -> list[AttachedDevice]:
    """Return the devices of the adb server at the other end; raises as `request` does."""
    request(connection, "host:devices-l")
    return [device for line in read_string(connection).splitlines() if (device := parse(line))]


def request(connection: socket.socket, service: str) -> None:
    """Ask for a host service; its answer, if it has one, can be read next.

    Raises:
        AdbRefusedError: the server answered `FAIL`.
        OSError: the connection broke, or a timeout passed.
        ValueError: the other end is no adb server.
    """
    connection.sendall(b"%04x%s" % (len(service), service.encode("ascii")))
    status = _read(connection, 4)
    if status == b"FAIL":
        raise AdbRefusedError(read_string(connection))
    if status != b"OKAY":
        raise ValueError(f"no adb server: it answers {status!r}")


def read_string(connection: socket.socket) -> str:
    """Read one string of an answer; raises as `request` does."""
    length = int(_read(connection, 4), 16)
    return _read(connection, min(length, _MAX_BYTES)).decode(errors="replace")


def parse(line: str) -> AttachedDevice | None:
    """Return the device of one line of `adb devices -l`; its state may be words (`no permissions (...)`)."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    attributes = dict(pair.split(":", 1) for pair in match[3].split())
    return AttachedDevice(serial=match[1], state=match[2], model=attributes.get("model"))


def _read(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        chunk = connection.recv(size - len(content))
        if not chunk:
            raise ConnectionError("the adb server closed the connection")
        content += chunk
    return content
