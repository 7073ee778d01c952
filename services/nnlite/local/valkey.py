"""The embedded Valkey (a Redis-compatible server): configures, starts and probes it."""

import signal
import socket
import subprocess
from typing import IO

from nnlite.local import binaries
from nnlite.local.home import LocalInstance

#: Passed on stdin, so that neither a file nor the process list shows the password.
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir "{data}"
maxmemory-policy noeviction
appendonly yes
appendfsync everysec
save ""
loglevel warning
"""


class Valkey:
    """Valkey on a loopback port, with a password; every write is in its append-only file within a second."""

    name = "valkey"
    executable = "valkey-server"
    #: Writes the append-only file and exits.
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)

    def __init__(self, instance: LocalInstance) -> None:
        self._instance = instance
        self._folder = instance.home / self.name
        self.data = self._folder / "data"

    def url(self, port: int, password: str) -> str:
        """Return what Celery and redis-py connect to."""
        return f"redis://:{password}@127.0.0.1:{port}/0"

    def prepare(self, password: str, *, is_new_password: bool) -> None:
        """Create the data folder; the password is passed at each start.

        Raises:
            LocalError: the data belong to another account.
        """
        self._folder.mkdir(exist_ok=True)
        self._folder.chmod(0o755)
        if not self.data.exists():
            self._instance.make_data_folder(self.data)
        self._instance.check_data_owner(self.data)

    def spawn(self, port: int, password: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the server, which needs a moment before it answers."""
        process = self._instance.popen(
            [binaries.valkey_server(self._instance), "-"],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/",
        )  # fmt: skip
        assert process.stdin is not None  # noqa: S101 - asked for above
        try:
            with process.stdin as configuration:
                text = _CONFIGURATION.format(port=port, password=password, data=self.data)
                configuration.write(text.encode())
        except BrokenPipeError:
            pass  # it has ended already; its log says why
        return process

    def answers(self, port: int, password: str) -> bool:
        """Whether the server on `port` accepts our password and has loaded its data."""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as replies:
                    return [replies.readline().strip(), replies.readline().strip()] == [b"+OK", b"+PONG"]
        except OSError:
            return False
