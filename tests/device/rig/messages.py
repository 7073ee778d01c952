"""Framing of adb's protocol messages (packages/modules/adb/protocol.txt in AOSP)."""

import struct
from collections.abc import Iterator
from typing import Final

_HEADER: Final = struct.Struct("<6I")
CNXN, AUTH, OPEN, OKAY, WRTE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE")
)
#: What an AUTH message is about.
AUTH_TOKEN, AUTH_KEY = 1, 3


class Message:
    """One message of adb's protocol."""

    def __init__(self, command: int, first: int, second: int, payload: bytes = b"", check: int = 0) -> None:
        self.command, self.first, self.second, self.payload = command, first, second, payload
        self._checked = check != 0

    def bytes(self) -> bytes:
        """Return it as it goes over the wire."""
        check = sum(self.payload) & 0xFFFFFFFF if self._checked else 0
        magic = self.command ^ 0xFFFFFFFF
        header = _HEADER.pack(self.command, self.first, self.second, len(self.payload), check, magic)
        return header + self.payload


class Framer:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take bytes; return the messages that are complete."""
        self._unread += data
        while len(self._unread) >= _HEADER.size:
            command, first, second, length, check, _ = _HEADER.unpack_from(self._unread)
            end = _HEADER.size + length
            if len(self._unread) < end:
                return
            yield Message(command, first, second, bytes(self._unread[_HEADER.size : end]), check)
            del self._unread[:end]
