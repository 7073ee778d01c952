"""Commands to the console of an emulator: a text protocol on its console port.

https://developer.android.com/studio/run/emulator-console: after a greeting the client authenticates with the
token in `.emulator_console_auth_token` of the emulator's home; each answer ends with a line `OK`, or is one
`KO: why`.
"""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from nnlite.errors import NnliteError, Stopped

_POLL_S: Final = 0.5
_CHUNK: Final = 4096


class ConsoleError(NnliteError):
    """The console does not answer, or says no."""


def command(port: int, home: Path, words: str, *, timeout_s: float, stop: threading.Event) -> None:
    """Give one command to an emulator and wait for its `OK`.

    Args:
        port: of the console, on this host.
        home: the emulator's HOME, which has the token.
        words: the command: `avd snapshot save NAME`.
        timeout_s: for the whole exchange.
        stop: cancels it.

    Raises:
        ConsoleError: it answers `KO`, or not in time.
        Stopped: the worker was asked to stop.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_POLL_S) as console:
            _answer(console, deadline_s, stop)
            token = (home / ".emulator_console_auth_token").read_text().strip()
            for line in (f"auth {token}", words):
                console.sendall(f"{line}\n".encode())
                _answer(console, deadline_s, stop)
    except OSError as error:
        raise ConsoleError(f"the emulator's console on port {port}: {error}") from error


def _answer(console: socket.socket, deadline_s: float, stop: threading.Event) -> None:
    """Read up to the line that ends an answer."""
    text = ""
    while True:
        last = text.splitlines()[-1:] if text.endswith("\n") else []
        if last == ["OK"]:
            return
        if last and last[0].startswith("KO"):
            raise ConsoleError(f"the emulator's console says: {last[0]}")
        if stop.is_set():
            raise Stopped("stopped while the emulator's console was at work")
        if time.monotonic() > deadline_s:
            raise ConsoleError("the emulator's console did not answer in time")
        with suppress(TimeoutError):
            received = console.recv(_CHUNK)
            if not received:
                raise ConsoleError("the emulator's console hung up")
            text += received.decode(errors="replace")
