"""Results as a DataFrame of pandas or polars, whichever the user has; neither is a dependency of nnlite.

Heavy libraries are imported where they are needed: commands import this package too.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Final, Literal

from nnlite.errors import NnliteError
from nnlite.results.reading import Reads, check_campaign, open_reader

Library = Literal["pandas", "polars"]
_LIBRARIES: Final[tuple[Library, ...]] = ("pandas", "polars")


def frame(campaign: str | None = None, *, view: str = "latency", library: Library | None = None) -> Any:
    """Return a view of the database as a DataFrame.

    The database is the one that the settings name; the embedded one is started if it does not run. The
    frame has every column of the view (`latency`: the result that counts of each artifact, pool, backend and
    number of threads; `measurement_run`: all results). Durations are nanoseconds, ids are text, JSON is text
    in polars and Python's objects in pandas.

    Args:
        view: one of the views that the reference of the database lists.
        library: None: the one that is imported already, else the one that is installed, pandas first.

    Raises:
        NnliteError: there is no such view, campaign or library, or the database cannot be used.
    """
    from nnlite.db.reader import NoDatabase
    from nnlite.settings import load_settings

    build = _builder(_chosen(library))
    settings = load_settings()
    with open_reader(settings) as reader:
        if isinstance(reader, NoDatabase):
            raise NnliteError(f"{settings.home} has no database; `nnlite run --limit 5` makes one")
        columns = _columns(reader, view)
        if campaign is not None:
            if "campaign" not in columns:
                raise NnliteError(f"the view {view} is not of one campaign: leave the campaign out")
            check_campaign(reader, campaign)
        where = "WHERE campaign = :campaign" if campaign is not None else ""
        # Only names of views get here.
        rows = reader.rows(f'SELECT * FROM "{view}" {where}', {"campaign": campaign})  # noqa: S608
    return build(columns, [tuple(row[name] for name in columns) for row in rows])


def _chosen(library: Library | None) -> Library:
    if library is not None and library not in _LIBRARIES:
        raise NnliteError(f"library={library!r}: a frame is one of {' or '.join(_LIBRARIES)}")
    wanted = (library,) if library else sorted(_LIBRARIES, key=lambda name: name not in sys.modules)
    for name in wanted:
        if find_spec(name) is not None:
            return name
    raise NnliteError(f"{' and '.join(wanted)} not installed here; for a frame: pip install {wanted[0]}")


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


def _columns(reader: Reads, view: str) -> list[str]:
    statement = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace GROUP BY c.relname ORDER BY c.relname
"""
    views: dict[str, list[str]] = {row["relname"]: row["columns"] for row in reader.rows(statement, {})}
    if view not in views:
        raise NnliteError(f"no view is named {view!r}; there are {', '.join(views)}")
    return views[view]
