"""Reads the database by psycopg2 alone, which imports in a tenth of SQLAlchemy's time; migrates first."""

import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extras

from nnlite.db.schema import NOT_A_URL, DatabaseError, check_revision, revisions
from nnlite.settings import Settings

#: `:name` in a statement, not `::type`.
_PARAMETER = re.compile(r"(?<!:):(\w+)")


class Reader:
    """Rows of statements as dictionaries; a context manager closes the connection."""

    def __init__(self, database_url: str, timeout_s: float) -> None:
        """Connect.

        Raises:
            DatabaseError: the URL is not one of Postgres, or the database does not answer.
        """
        self._named = _without_password(database_url)
        try:
            self._connection = psycopg2.connect(
                _plain(database_url),
                connect_timeout=max(2, round(timeout_s)),
                application_name="nnlite",
                tcp_user_timeout=int(timeout_s * 2000),
            )
        except psycopg2.OperationalError as error:
            raise DatabaseError(
                f"Postgres at {self._named} cannot be reached: {_first_line(error)}"
            ) from error
        except psycopg2.ProgrammingError as error:  # not a URL
            raise DatabaseError(NOT_A_URL) from error
        self._connection.set_session(readonly=True, autocommit=True)
        psycopg2.extras.register_uuid(None, self._connection)  # type: ignore[no-untyped-call]

    def rows(self, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of a statement whose parameters are written as `:name`.

        Raises:
            DatabaseError: the connection was lost.
        """
        driver_statement = _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))
        try:
            with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(driver_statement, parameters)
                return [dict(row) for row in cursor.fetchall()]
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise DatabaseError(
                f"Postgres went away: {_first_line(error)}; try again when it is back"
            ) from error

    def revision(self) -> str | None:
        """Return the revision of the schema; None: it was never migrated."""
        (known,) = self.rows("SELECT to_regclass('alembic_version') IS NOT NULL AS migrated", {})
        rows = self.rows("SELECT version_num FROM alembic_version", {}) if known["migrated"] else []
        return rows[0]["version_num"] if rows else None

    def check_schema(self) -> None:
        """Check that the database has the schema of this version.

        Raises:
            DatabaseError: it has not.
        """
        check_revision(self.revision(), self._named)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def migrate_embedded(settings: Settings, database_url: str) -> None:
    """Upgrade an embedded database to this version.

    A database that the settings name is never migrated automatically: `nnlite db upgrade` does that.
    """
    if settings.database_url is not None:
        return
    with Reader(database_url, settings.database_timeout_s) as reader:
        current = reader.revision()
    if current != revisions()[-1]:
        from nnlite.db.engine import upgrade

        upgrade(database_url)


class NoDatabase:
    """What a home without a database has: no rows."""

    def rows(self, _statement: str, _parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return nothing."""
        return []


def _plain(url: str) -> str:
    """Return the URL without the driver that SQLAlchemy's URLs may name."""
    scheme, separator, rest = url.partition("://")
    backend = scheme.partition("+")[0]
    if separator and backend not in {"postgresql", "postgres"}:
        raise DatabaseError(f"NNLITE_DATABASE_URL is of {backend}; nnlite needs Postgres")
    return f"postgresql{separator}{rest}" if separator else url


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(_plain(url))
        _ = parts.port  # reads it
    except ValueError as error:
        raise DatabaseError(NOT_A_URL) from error
    login, at, address = parts.netloc.rpartition("@")
    hidden = f"{login.partition(':')[0]}:***" if ":" in login else login
    return parts._replace(netloc=f"{hidden}{at}{address}", query="").geturl()


def _first_line(error: psycopg2.Error) -> str:
    return str(error).strip().partition("\n")[0]
