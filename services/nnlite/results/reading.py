"""Reads rows for queries, through SQLAlchemy or a `Reader`; and says which names there are."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from nnlite.errors import NnliteError, did_you_mean
from nnlite.settings import Settings

if TYPE_CHECKING:  # takes longer to import than a listing takes
    from sqlalchemy import Connection, Engine

Row = dict[str, Any]


@runtime_checkable
class Reads(Protocol):
    """What rows are read from: `Reader` or `NoDatabase` of `nnlite.db.reader`."""

    def rows(self, statement: str, parameters: Mapping[str, Any], /) -> list[Row]:
        """Return the rows of a statement whose parameters are written as `:name`."""
        ...


Database: TypeAlias = "Engine | Reads"


@contextmanager
def open_reader(settings: Settings) -> Iterator[Reads]:
    """Open the database that the settings name, to read; an embedded one is started if it does not run.

    A home without a database has no rows (`NoDatabase`); nothing is created.

    Raises:
        NnliteError: the database cannot be used.
    """
    from nnlite.db.reader import NoDatabase, Reader, migrate_embedded
    from nnlite.local import database as database_of

    with database_of(settings) as url:
        if url is None:
            yield NoDatabase()
            return
        migrate_embedded(settings, url)
        with Reader(url, settings.database_timeout_s) as reader:
            reader.check_schema()
            yield reader


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


#: Newest first; close matches of an unknown name are looked for among these.
_CAMPAIGNS = "SELECT name FROM campaign ORDER BY created_at DESC LIMIT 1000"
#: Names that an error lists.
_LISTED = 5
_POOLS = """
SELECT pool AS name FROM device UNION SELECT unnest(pools) FROM campaign ORDER BY name
"""
_MODELS = """
SELECT DISTINCT m.name FROM model m
JOIN conversion v ON v.model_id = m.id JOIN campaign c ON c.id = v.campaign_id
WHERE (CAST(:campaign AS text) IS NULL OR c.name = :campaign)
  AND (CAST(:model AS text) IS NULL OR m.name LIKE :model)
"""


def campaign_names(connection: "Connection") -> list[str]:
    """Return the names of campaigns, the newest first, for messages about a name that is not known."""
    return [name for (name,) in connection.exec_driver_sql(_CAMPAIGNS)]


def unknown_campaign(name: str, names: Sequence[str]) -> CampaignError:
    """Return the error for a name that no campaign has."""
    newest = f"the newest are {', '.join(names[:_LISTED])}"
    known = newest if names else "there is none yet; `nnlite submit` makes one"
    return CampaignError(f"no campaign is named {name!r}{did_you_mean(name, names) or f'; {known}'}")


def check_campaign(database: Database, name: str | None) -> None:
    """Check that there is a campaign `name`; None is every campaign.

    Raises:
        CampaignError: there is none; the message has close ones, or the newest.
    """
    if name is not None and not rows_of(
        database, "SELECT name FROM campaign WHERE name = :name", {"name": name}
    ):
        raise unknown_campaign(name, _names(database, _CAMPAIGNS))


def check_models(database: Database, model: str | None, campaign: str | None = None) -> str | None:
    """Check that there is a model of this name; return a sentence if it is a pattern that matches none.

    Args:
        model: a name, or a pattern in which `*` stands for anything; None: any.
        campaign: of this one alone.

    Raises:
        NnliteError: it is a name that no model has; the message has close ones.
    """
    if model is None or rows_of(database, f"{_MODELS} LIMIT 1", {"campaign": campaign, "model": like(model)}):
        return None
    where = f"campaign {campaign}" if campaign else "any campaign"
    if "*" in model:
        return f"no model of {where} matches {model!r}"
    known = _names(database, _MODELS, campaign=campaign, model=None)
    hint = did_you_mean(model, known) or "; nnlite results and nnlite failures list them"
    raise NnliteError(f"no model of {where} is named {model!r}{hint}")


def check_pools(database: Database, pools: Sequence[str]) -> None:
    """Check that there are pools of these names.

    Raises:
        NnliteError: there is none of one; the message lists them.
    """
    known = _names(database, _POOLS) if pools else []
    for pool in pools:
        if pool not in known:
            raise NnliteError(unknown("pool", pool, known))


def check_device(database: Database, name: str) -> None:
    """Check that there is a device `name`.

    Raises:
        NnliteError: there is none; the message lists those that there are.
    """
    known = _names(database, "SELECT name FROM device ORDER BY name")
    if name not in known:
        raise NnliteError(unknown("device", name, known))


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """Return the message about a name that is not among those `known` of a kind: device or pool."""
    listed = f"; the {kind}s are {', '.join(known)}" if known else f"; no {kind} was ever seen"
    return f"no {kind} {name!r}{did_you_mean(name, known) or listed}"


def _names(database: Database, statement: str, **parameters: Any) -> list[str]:
    return [row["name"] for row in rows_of(database, statement, parameters)]
