"""Backups of the database, embedded or of the settings, by `backup.sh` with Postgres's own tools."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from nnlite.errors import NnliteError
from nnlite.local.session import client_programs
from nnlite.settings import Settings

_SCRIPT: Final = Path(__file__).with_name("backup.sh")
#: Parts of a connection string, and libpq's variables for them.
_VARIABLES: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


def back_up(settings: Settings, database_url: str, folder: Path, keep: int) -> str:
    """Write a dump into `folder`, delete those of all but the `keep` newest days, and return what was done.

    Raises:
        NnliteError: it failed; earlier dumps stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NnliteError(f"{folder}: {error.strerror}; name a folder that can be written") from error
    return _run(settings, database_url, "backup", str(folder), str(keep))


def restore(settings: Settings, database_url: str, file: Path) -> str:
    """Replace the database by the dump `file`, and return what was done.

    Raises:
        NnliteError: it is no dump, somebody uses the database, or it cannot be restored; nothing was changed.
    """
    return _run(settings, database_url, "restore", str(file))


def _run(settings: Settings, database_url: str, *arguments: str) -> str:
    tools = max(client_programs(settings, "pg_dump"), key=_version).parent
    environment = os.environ | _connection(database_url) | {"PATH": f"{tools}:{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        ["sh", _SCRIPT, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise NnliteError(done.stderr.strip())
    return done.stderr.strip()


def _version(program: Path) -> tuple[int, ...]:
    """Return the version of a program: pg_dump reads servers of its own version and of older ones."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


def _connection(database_url: str) -> dict[str, str]:
    from psycopg2.extensions import parse_dsn

    parts = parse_dsn(urlsplit(database_url)._replace(scheme="postgresql").geturl())
    return {_VARIABLES[name]: value for name, value in parts.items() if name in _VARIABLES}
