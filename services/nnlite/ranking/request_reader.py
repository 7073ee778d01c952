"""Reads one request from a socket; it has to arrive as a whole within its time, however slowly it is sent."""

import time
from io import BufferedReader, RawIOBase
from socket import socket
from typing import Any


def request_file(connection: socket, *, silence_s: float, request_s: float) -> BufferedReader:
    """Return the file that a request is read from; its reads raise TimeoutError when the time is over.

    Args:
        connection: with the client; its own timeout stays `silence_s`.
        silence_s: longest wait for further bytes.
        request_s: longest time from now to the last byte.
    """
    return BufferedReader(_RequestReader(connection, silence_s, request_s))


class _RequestReader(RawIOBase):
    def __init__(self, connection: socket, silence_s: float, request_s: float) -> None:
        self._connection = connection
        self._silence_s = silence_s
        self._until_s = time.monotonic() + request_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request takes too long")
        self._connection.settimeout(min(self._silence_s, left_s))
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._silence_s)
