"""What an adb server that already runs on this host sees; asked by its socket, never started.

The protocol is that of adb's host services: four hexadecimal digits of length,
then the request; `OKAY` or `FAIL`, then the answer in the same form
(https://android.googlesource.com/platform/packages/modules/adb/+/refs/heads/main/docs/dev/services.md).
Nothing here needs adbutils, whose client starts a server where there is none.
"""

import os
import re
import socket
from dataclasses import dataclass

DEFAULT_PORT = 5037
_ANSWER_S = 3.0
_LONGEST_ANSWER = 1 << 20
#: Serial, state, and what else the server knows.
_LINE = re.compile(r"(\S+)\s+(\S.*?)((?:\s+(?:usb|product|model|device|features|transport_id):\S+)*)")


@dataclass(frozen=True, kw_only=True)
class Attached:
    """One device as an adb server lists it."""

    serial: str
    #: `device`, `offline`, `unauthorized`, ...
    state: str
    #: None: the server does not tell.
    model: str | None = None
    #: Where it is plugged in; None: an emulator or a TCP device.
    usb: str | None = None


def server_port() -> int:
    """Return the port on which adb programs of this environment look for their server.

    Raises:
        ValueError: ANDROID_ADB_SERVER_PORT is not a port.
    """
    given = os.environ.get("ANDROID_ADB_SERVER_PORT") or str(DEFAULT_PORT)
    if not given.isdecimal() or not 0 < int(given) < 1 << 16:
        raise ValueError(f"ANDROID_ADB_SERVER_PORT={given} is not a port; the usual one is {DEFAULT_PORT}")
    return int(given)


def attached(port: int) -> list[Attached] | None:
    """Return what the adb server on `port` sees, or None if none answers there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as connection:
            request = b"host:devices-l"
            connection.sendall(b"%04x%s" % (len(request), request))
            if _read(connection, 4) != b"OKAY":
                return None
            length = int(_read(connection, 4), 16)
            listing = _read(connection, min(length, _LONGEST_ANSWER)).decode(errors="replace")
    except (OSError, ValueError):
        return None
    return [found for line in listing.splitlines() if (found := parse(line))]


def parse(line: str) -> Attached | None:
    """Return the device of one line of `adb devices -l`; its state may be words (`no permissions (...)`)."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    told = dict(pair.split(":", 1) for pair in match[3].split())
    return Attached(serial=match[1], state=match[2], model=told.get("model"), usb=told.get("usb"))


def _read(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = connection.recv(size - len(content))
        if not piece:
            raise OSError("the adb server hung up")
        content += piece
    return content
