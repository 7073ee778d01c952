"""Reads rows for queries, through SQLAlchemy or a `Reader`; and says which names there are."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from nnlite.errors import NnliteError
from nnlite.settings import Settings

if TYPE_CHECKING:  # takes longer to import than a listing takes
    from sqlalchemy import Connection, Engine

    from nnlite.db.reader import Reader

Row = dict[str, Any]


@runtime_checkable
class Reads(Protocol):
    """A connection that only reads: `nnlite.db.reader.Reader`."""

    def rows(self, statement: str, parameters: Mapping[str, Any], /) -> list[Row]:
        """Return the rows of a statement whose parameters are written as `:name`."""
        ...


Database: TypeAlias = "Engine | Reads"


@contextmanager
def open_reader(settings: Settings) -> Iterator["Reader | None"]:
    """Open the database that the settings name, to read; an embedded one is started if it does not run.

    None where the home has no database; nothing is created.

    Raises:
        NnliteError: the database cannot be used.
    """
    from nnlite.db.reader import Reader
    from nnlite.local import database as database_of

    with database_of(settings) as url:
        if url is None:
            yield None
            return
        if settings.database_url is None:
            _migrate(url, settings.database_timeout_s)
        with Reader(url, settings.database_timeout_s) as reader:
            reader.check_schema()
            yield reader


def _migrate(url: str, timeout_s: float) -> None:
    """Upgrade an embedded database that has not the schema of this version."""
    from nnlite.db.reader import Reader
    from nnlite.db.schema import revisions

    with Reader(url, timeout_s) as reader:
        current = reader.revision()
    if current != revisions()[-1]:
        from nnlite.db.engine import upgrade

        upgrade(url)


class CampaignError(NnliteError):
    """No campaign has this name, or its state does not allow the change."""


def rows_of(database: Database, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a statement whose parameters are written as `:name`."""
    if isinstance(database, Reads):
        return database.rows(statement, parameters)
    from sqlalchemy import text

    with database.connect() as connection:
        return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]


def like(pattern: str | None) -> str | None:
    """Return SQL's LIKE pattern for one in which `*` stands for anything; None for none."""
    if pattern is None:
        return None
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


_NEWEST = "SELECT name FROM campaign ORDER BY created_at DESC LIMIT 5"


def newest_campaigns(connection: "Connection") -> list[str]:
    """Return the names of the newest campaigns, for messages about a name that is not known."""
    return [name for (name,) in connection.exec_driver_sql(_NEWEST)]


def unknown_campaign(name: str, newest: Sequence[str]) -> CampaignError:
    """Return the error for a name that no campaign has."""
    known = (
        f"the newest are {', '.join(newest)}" if newest else "there is none yet; `nnlite submit` makes one"
    )
    return CampaignError(f"no campaign is named {name!r}; {known}")


def check_campaign(database: Database, name: str | None) -> None:
    """Check that there is a campaign `name`; None is every campaign.

    Raises:
        CampaignError: there is none; the message lists the newest ones.
    """
    if name is not None and not rows_of(
        database, "SELECT name FROM campaign WHERE name = :name", {"name": name}
    ):
        raise unknown_campaign(name, [row["name"] for row in rows_of(database, _NEWEST, {})])


def check_device(database: Database, name: str) -> None:
    """Check that there is a device `name`.

    Raises:
        NnliteError: there is none; the message lists those that there are.
    """
    known = [row["name"] for row in rows_of(database, "SELECT name FROM device ORDER BY name", {})]
    if name not in known:
        listed = f"the devices are {', '.join(known)}" if known else "no device was ever seen"
        raise NnliteError(f"no device {name!r}; {listed}")
