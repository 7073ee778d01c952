"""How commands present: rich tables for people, JSON lines of the same rows for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

#: What a command answers with goes to stdout, so that it can be piped.
out = Console()
#: Progress, notes and errors go to stderr.
err = Console(stderr=True)


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON array of `rows` to stdout."""
    sys.stdout.buffer.write(orjson.dumps(list(rows), default=str, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.flush()


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], title: str | None = None) -> None:
    """Print `columns` of `rows` as a table; numbers stand to the right, None as an empty cell.

    Piped, the table is as wide as its contents, so that nothing is cut.
    """
    rows = list(rows)
    table = Table(title=title, title_justify="left")
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in columns))
    out.print(table, width=None if out.is_terminal else 400, crop=False)
