"""Results as a DataFrame of pandas or polars, whichever the user has; neither is a dependency of nnlite.

Heavy libraries are imported where they are needed: commands import this package too.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from nnlite.errors import NnliteError

if TYPE_CHECKING:
    from sqlalchemy import Connection

Library = Literal["pandas", "polars"]
_LIBRARIES: Final[tuple[Library, ...]] = ("pandas", "polars")


class FrameError(NnliteError):
    """A DataFrame cannot be made: the view, the campaign or the library is not there."""


def frame(campaign: str | None = None, *, view: str = "latency", library: Library | None = None) -> Any:
    """Return a view of the database as a DataFrame.

    The database is the one that the settings name; the embedded one is started if it does not run. The
    frame has every column of the view (`latency`: the result that counts of each artifact, pool, backend and
    number of threads; `measurement_run`: all results). Durations are nanoseconds, ids are text, JSON is text
    in polars and Python's objects in pandas.

    Args:
        campaign: only the rows of this one.
        view: one of the views that the reference of the database lists.
        library: None: the one that is imported already, else the one that is installed, pandas first.

    Raises:
        NnliteError: there is no such view, campaign or library, or the database cannot be used.
    """
    build = _builder(_chosen(library))
    with _connection() as connection:
        columns = _columns(connection, view)
        if campaign is not None:
            _check_campaign(connection, campaign, view, columns)
        where = "WHERE campaign = %(campaign)s" if campaign is not None else ""
        # Only names of views get here.
        answer = connection.exec_driver_sql(f'SELECT * FROM "{view}" {where}', {"campaign": campaign})  # noqa: S608
        return build(columns, [tuple(row) for row in answer])


def _chosen(library: Library | None) -> Library:
    if library is not None and library not in _LIBRARIES:
        raise FrameError(f"library={library!r}: a frame is one of {' or '.join(_LIBRARIES)}")
    wanted = (library,) if library else sorted(_LIBRARIES, key=lambda name: name not in sys.modules)
    for name in wanted:
        if find_spec(name) is not None:
            return name
    raise FrameError(f"{' and '.join(wanted)} not installed here; for a frame: pip install {wanted[0]}")


def _builder(library: Library) -> Callable[[Sequence[str], list[tuple[Any, ...]]], Any]:
    """Return what makes a frame of columns and rows."""
    if library == "pandas":
        import pandas

        return lambda columns, rows: pandas.DataFrame.from_records(_plain(rows), columns=list(columns))
    import polars

    return lambda columns, rows: polars.DataFrame(
        _plain(rows, json=True), schema=list(columns), orient="row", infer_schema_length=None
    )


def _plain(rows: list[tuple[Any, ...]], *, json: bool = False) -> list[tuple[Any, ...]]:
    """Return the rows with ids as text, and with JSON objects as text if asked for."""
    import uuid

    import orjson

    def plain(value: Any) -> Any:
        if isinstance(value, uuid.UUID):
            return str(value)
        holds_objects = isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(part, dict | list) for part in value)
        )
        return orjson.dumps(value).decode() if json and holds_objects else value

    return [tuple(map(plain, row)) for row in rows]


def _columns(connection: "Connection", view: str) -> list[str]:
    from sqlalchemy import text

    statement = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace GROUP BY c.relname ORDER BY c.relname
"""
    views = {name: list(columns) for name, columns in connection.execute(text(statement))}
    if view not in views:
        raise FrameError(f"no view is named {view!r}; there are {', '.join(views)}")
    return views[view]


def _check_campaign(connection: "Connection", campaign: str, view: str, columns: Sequence[str]) -> None:
    from sqlalchemy import text

    from nnlite.results.reading import newest_campaigns

    if "campaign" not in columns:
        raise FrameError(f"the view {view} is not of one campaign: leave the campaign out")
    if connection.scalar(text("SELECT 1 FROM campaign WHERE name = :name"), {"name": campaign}) is None:
        newest = newest_campaigns(connection)
        known = f"the newest are {', '.join(newest)}" if newest else "there is none yet"
        raise FrameError(f"no campaign is named {campaign!r}; {known}")


@contextmanager
def _connection() -> "Iterator[Connection]":
    """Yield a read-only transaction in the database that the settings name."""
    from nnlite.db.engine import check_schema, engine_for, explained, migrate_embedded
    from nnlite.local import servers
    from nnlite.settings import load_settings

    settings = load_settings()
    with explained(), _database(settings.database_url, lambda: servers(settings)) as url:
        migrate_embedded(settings, url)
        engine = engine_for(url, settings.database_timeout_s)
        try:
            check_schema(engine)
            with engine.connect().execution_options(postgresql_readonly=True) as connection:
                yield connection
        finally:
            engine.dispose()


@contextmanager
def _database(url: str | None, embedded: Callable[[], Any]) -> Iterator[str]:
    """Yield the URL of the database; a Redis is not needed, so only an embedded database is started."""
    if url is not None:
        yield url
        return
    with embedded() as endpoints:
        yield endpoints.database_url
