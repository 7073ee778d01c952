"""Output of commands: tables and notes for people, JSON of the same rows for programs.

In a terminal a table has the terminal's width: names and messages wrap and are never cut, and the least
important columns are hidden. Piped, each line is as long as its contents: nothing wraps, and nothing is
padded.
"""

import os
import shlex
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nnlite.errors import UsageError

#: Width of what is no table where it is piped.
_PIPED_WIDTH = 1000
#: Rows that a listing prints unless it is asked for more.
LISTED = 50
#: Columns that wrap where the terminal is too narrow, and the width that each should have at least; all
#: other columns stay whole.
_FLEXIBLE: Final = {
    "model": 20,
    "name": 20,
    "campaign": 14,
    "device": 16,
    "owner": 12,
    "reason": 24,
    "reasons": 16,
    "line": 20,
    "last incident": 16,
    "canary ms": 16,
    "variation": 14,
    "recovery_steps": 12,
    "operator": 16,
    "module": 12,
    "field": 12,
    "stored": 10,
    "derived": 10,
    "message": 30,
    "value": 16,
    "configuration": 16,
    "description": 24,
    "measure on it": 20,
    "command": 20,
    "setting": 24,
}
#: Between two columns.
_GAP: Final = 2


class _PlainConsole(Console):
    """A console that shows control characters of texts and never sends them to the terminal."""

    def print(self, *objects: Any, **arguments: Any) -> None:
        """Print as rich does, texts without interpreting anything in them."""
        super().print(*(visible(each) if isinstance(each, str) else each for each in objects), **arguments)


def visible(text: str, *, line_breaks: bool = True) -> str:
    r"""Return `text` with its control characters written out, such as `\x1b`; tabs stay.

    Args:
        line_breaks: keep them.
    """
    kept = "\n\t" if line_breaks else "\t"
    return "".join(
        each if each in kept or unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else each.encode("unicode_escape").decode()
        for each in text
    )  # fmt: skip


# Names and messages are printed verbatim, without interpreting rich's markup in them.
#: Results go to stdout, so that they can be piped.
out = _PlainConsole(width=None if sys.stdout.isatty() else _PIPED_WIDTH, markup=False, emoji=False)
#: Progress, notes and errors go to stderr.
err = _PlainConsole(
    stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH, markup=False, emoji=False
)


def say(text: str) -> None:
    """Print a sentence of a result to stdout; long ones wrap in a terminal only."""
    out.print(text, highlight=False, soft_wrap=not out.is_terminal)


def note(text: str) -> None:
    """Print a line about what a command did to stderr; long ones wrap in a terminal only."""
    err.print(text, highlight=False, soft_wrap=not err.is_terminal)


def print_error(text: str) -> None:
    """Print what went wrong and what to do, to stderr."""
    message = Text.assemble(("error: ", "bold red"), visible(text))
    err.print(message, highlight=False, soft_wrap=not err.is_terminal)


def confirmed(question: str, *, yes: bool) -> bool:
    """Return whether the user wants what `question` asks; asked only in a terminal.

    Args:
        yes: was said in advance.

    Raises:
        UsageError: it was not, and nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is here to answer; add --yes")
    err.print(f"{question} [y/N] ", end="", highlight=False)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def count(number: int, thing: str, things: str | None = None) -> str:
    """Return a number with its noun: `1 model`, `2 models`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON array of `rows` to stdout."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(list(rows), default=str, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.flush()


def listed(rows: Sequence[Any], top: int | None) -> Sequence[Any]:
    """Return the rows that a listing prints, and say how many others there are.

    Args:
        top: how many; 0: all; None: as many as a person reads, all where the output is piped.
    """
    limit = (LISTED if out.is_terminal else 0) if top is None else top
    if not limit or len(rows) <= limit:
        return rows
    note(f"{limit:,} of {len(rows):,} shown; --top 0 shows all")
    return rows[:limit]


def print_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    title: str | None = None,
    optional: Sequence[str] = (),
    *,
    wide: bool = False,
) -> None:
    """Print `columns` of `rows` as a table; numbers are right-aligned, None is an empty cell.

    Args:
        optional: columns that a terminal too narrow for the table does not show, the first one first.
        wide: show all columns unwrapped, wider than the terminal.
    """
    rows = [{column: _cell(column, row.get(column)) for column in columns} for row in rows]
    natural = {column: max(map(_width, [column, *(row[column] for row in rows)])) for column in columns}
    least = {column: min(natural[column], _FLEXIBLE.get(column, natural[column])) for column in columns}
    unbounded = wide or not out.is_terminal
    room = sum(natural.values()) + _GAP * len(columns) if unbounded else out.width
    shown, hidden = _fitting(least, optional, room)
    widths = _widths(natural, least, shown, room)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in shown:
        numbers = all(_is_number(row[column]) for row in rows)
        table.add_column(
            column, justify="right" if numbers else "left", overflow="fold", width=widths[column],
            no_wrap=widths[column] >= natural[column],
        )  # fmt: skip
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    if title:
        # By itself: a table would wrap it at its own width.
        out.print()
        out.print(Text(title, style="bold"), soft_wrap=not out.is_terminal)
    with _width_of(room):
        if out.is_terminal:
            out.print(table, highlight=False, crop=False)
        else:
            with out.capture() as captured:
                out.print(table, highlight=False, crop=False)
            for line in captured.get().splitlines():
                out.file.write(f"{line.rstrip()}\n")
    if hidden:
        note(f"not shown in {out.width} columns: {', '.join(hidden)}; wider, --wide or --json shows them")


@contextmanager
def _width_of(columns: int) -> Iterator[None]:
    """Let stdout have so many columns inside the block; rich never prints wider than its terminal."""
    before, out.width = out.width, columns
    try:
        yield
    finally:
        out.width = before


@contextmanager
def paged(*, wide: bool = False) -> Iterator[None]:
    """Show what the block prints to stdout in the user's pager, if it is longer than the terminal.

    `PAGER` names the pager, as for other programs; less where it is not set.

    Args:
        wide: lines may be longer than the terminal; less then scrolls sideways.
    """
    if not out.is_terminal:
        yield
        return
    with out.capture() as captured:
        yield
    text = captured.get()
    pager = shlex.split(os.environ.get("PAGER", "less"))
    if (text.count("\n") < out.height and not wide) or not pager or shutil.which(pager[0]) is None:
        out.file.write(text)
        out.file.flush()
    else:
        _page(pager, text, wide=wide)


def _page(pager: Sequence[str], text: str, *, wide: bool) -> None:
    environment = {"LESS": "FRSX" if wide else "FRX"} | os.environ
    process = subprocess.Popen(pager, stdin=subprocess.PIPE, env=environment, text=True)
    try:
        process.communicate(text)
    except BrokenPipeError:
        pass  # the user has seen enough
    except KeyboardInterrupt:
        process.wait()


def _fitting(least: Mapping[str, int], optional: Sequence[str], room: int) -> tuple[list[str], list[str]]:
    """Return the columns that fit into `room`, and those to hide: of `optional`, the first one first."""
    shown = [name for name in least if name not in optional]
    left = room + _GAP - sum(least[name] + _GAP for name in shown)
    needed = sum(least[name] + _GAP for name in least if name in optional)
    for column in reversed([name for name in optional if name in least]):
        if needed <= left or least[column] + _GAP <= left:
            shown.append(column)
            left -= least[column] + _GAP
        needed -= least[column] + _GAP
    return [name for name in least if name in shown], [name for name in least if name not in shown]


def _widths(
    natural: Mapping[str, int], least: Mapping[str, int], shown: Sequence[str], room: int
) -> dict[str, int]:
    """Return the width of each column: the least one, and of what is left first what names need."""
    widths = {column: least[column] for column in shown}
    left = room - sum(widths.values()) - _GAP * (len(shown) - 1)
    for column in shown:
        more = max(0, min(natural[column] - widths[column], left))
        widths[column] += more
        left -= more
    # Too narrow even so: what wraps is made narrower, down to a word.
    for column in sorted((name for name in shown if name in _FLEXIBLE), key=lambda name: -widths[name]):
        less = max(0, min(widths[column] - 8, -left))
        widths[column] -= less
        left += less
    return widths


def _cell(column: str, value: Any) -> str:
    return "" if value is None else visible(str(value), line_breaks=column == "message")


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _is_number(text: str) -> bool:
    number = text.lstrip("-+")
    return not text or (number[:1].isdigit() and number.split(" ")[0].strip("%,. ")[-1:].isdigit())
