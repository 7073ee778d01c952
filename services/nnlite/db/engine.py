"""The connection to Postgres and the state of its schema."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from nnlite.db.schema import NOT_A_URL, DatabaseError, check_revision, migrations

if TYPE_CHECKING:  # Alembic takes half a second to import, and a migrated database does not need it
    from alembic.config import Config


def engine_for(database_url: str, timeout_s: float = 10) -> Engine:
    """Return an engine on `database_url` (any `postgresql://` form), every wait bounded by `timeout_s`.

    Raises:
        DatabaseError: the URL is not one of Postgres.
    """
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseError(NOT_A_URL) from error
    if url.get_backend_name() != "postgresql":
        raise DatabaseError(f"NNLITE_DATABASE_URL is of {url.get_backend_name()}; nnlite needs Postgres")
    return create_engine(
        url.set(drivername="postgresql+psycopg2"),
        pool_size=4,
        pool_pre_ping=False,
        pool_timeout=timeout_s,
        connect_args={
            "connect_timeout": max(2, round(timeout_s)),
            "application_name": "nnlite",
            "options": f"-c lock_timeout={int(timeout_s * 1000)}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(timeout_s * 2000),
        },
    )


def autocommit(engine: Engine) -> Connection:
    """Return a connection for statements that are each a transaction: one round trip instead of three."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def storable(value: Any) -> Any:
    """Replace what Postgres cannot store (NUL, lone surrogates) in text from models or devices."""
    if isinstance(value, str):
        # Neither NUL nor half of a surrogate pair.
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value


def first_line(error: DBAPIError) -> str:
    """Return the first line of a driver's message, for logs and errors."""
    return str(error.orig).strip().partition("\n")[0]


def is_outage(error: DBAPIError) -> bool:
    """Return whether the same statement may succeed later: Postgres is away, busy or out of space."""
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def where(engine: Engine) -> str:
    """Return host, port and name of the database, for messages; no password."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=True)


def upgrade(database_url: str, revision: str = "head") -> None:
    """Upgrade the schema to `revision`.

    Raises:
        DatabaseError: it was created by a newer nnlite.
    """
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(_alembic_config(database_url), revision)
    except CommandError as error:
        raise DatabaseError(
            f"the database {where(engine_for(database_url))} cannot be brought to this version: {error}; "
            "it was created by a newer nnlite; install that version"
        ) from error


def downgrade(database_url: str, revision: str) -> None:
    """Downgrade the schema to `revision`; data that only later ones have is deleted. `base`: everything."""
    from alembic import command

    command.downgrade(_alembic_config(database_url), revision)


def check_schema(engine: Engine) -> None:
    """Make sure that the database answers and has the schema of this version.

    Raises:
        SchemaError: it is not migrated, or of another version.
        DatabaseError: it is unreachable.
    """
    try:
        with engine.connect() as connection:
            migrated = connection.scalar(text("SELECT to_regclass('alembic_version')"))
            current = migrated and connection.scalar(text("SELECT version_num FROM alembic_version"))
    except OperationalError as error:
        raise DatabaseError(f"Postgres at {where(engine)} cannot be reached: {first_line(error)}") from error
    check_revision(current, where(engine))


def _alembic_config(database_url: str) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations()))
    config.attributes["database_url"] = database_url
    return config


@contextmanager
def explained() -> Iterator[None]:
    """Raise DatabaseError if the connection is lost inside the block."""
    try:
        yield
    except OperationalError as error:
        raise DatabaseError(f"Postgres went away: {first_line(error)}; try again when it is back") from error
