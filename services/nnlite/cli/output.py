"""Output of commands: rich tables for people, JSON of the same rows for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

#: Piped, a table is as wide as its contents.
_PIPED_WIDTH = 1000
#: Columns that may be truncated or wrapped in a terminal; all others stay complete.
_CUT = {"model", "name"}
_FLEXIBLE = _CUT | {"reason", "reasons", "message", "value"}
#: Width that such a column should have at least.
_FLEXIBLE_WIDTH = 12

# Names and messages are printed verbatim, without interpreting rich's markup in them.
#: Results go to stdout, so that they can be piped.
out = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, markup=False, emoji=False)
#: Progress, notes and errors go to stderr.
err = Console(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH, markup=False, emoji=False)


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON array of `rows` to stdout."""
    sys.stdout.buffer.write(orjson.dumps(list(rows), default=str, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.flush()


def print_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    title: str | None = None,
    optional: Sequence[str] = (),
) -> None:
    """Print `columns` of `rows` as a table; numbers are right-aligned, None is an empty cell.

    Args:
        optional: columns that a terminal too narrow for the table does not show, the first one first.
    """
    rows = list(rows)
    columns = _fitting(rows, columns, optional)
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        values = [row.get(column) for row in rows]
        table.add_column(
            column,
            justify="right" if all(map(_is_number, values)) else "left",
            no_wrap=column not in _FLEXIBLE,
            overflow="ellipsis" if column in _CUT else "fold",
            min_width=None if column in _FLEXIBLE else _least_width(rows, column),
        )
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    out.print(table, highlight=False)


def _fitting(rows: list[Mapping[str, Any]], columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    """Return the columns that fit the terminal; those in `optional` give way in their order."""
    shown = list(columns)
    for column in (name for name in optional if name in columns):
        # Each column has a border and two spaces.
        if 1 + sum(3 + _least_width(rows, name) for name in shown) <= out.width:
            break
        shown.remove(column)
    return shown


def _least_width(rows: list[Mapping[str, Any]], column: str) -> int:
    width = max(map(_width, [column, *(row.get(column) for row in rows)]))
    return min(width, _FLEXIBLE_WIDTH) if column in _FLEXIBLE else width


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _width(value: Any) -> int:
    return 0 if value is None else len(str(value))


def _is_number(value: Any) -> bool:
    if value is None or isinstance(value, int | float):
        return True
    return (
        isinstance(value, str)
        and value.lstrip("-")[:1].isdigit()
        and value.split(" ")[0].strip("%,. ")[-1:].isdigit()
    )
