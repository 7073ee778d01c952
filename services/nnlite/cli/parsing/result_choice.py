"""Which results a listing shows, in which order and with which columns: parsed from `nnlite results`."""

from collections.abc import Sequence
from typing import Any, Final

from nnlite.errors import UsageError
from nnlite.results.reading import Row
from nnlite.vocabulary import Verdict

#: Columns of the table by the words that name them, and the column of JSON that each is sorted by.
_COLUMNS: Final = {
    "campaign": ("campaign", "campaign"),
    "model": ("model", "model"),
    "precision": ("precision", "precision"),
    "device": ("device", "device"),
    "backend": ("backend", "backend"),
    "threads": ("threads", "threads"),
    "mode": ("mode", "mode"),
    "parameters": ("parameters", "parameters"),
    "size": ("size", "size_bytes"),
    "parity": ("parity", "parity_relative"),
    "sqnr": ("SQNR dB", "sqnr_db"),
    "top-1": ("top-1", "top1_agreement"),
    "median": ("median ms", "median_ns"),
    "min": ("min ms", "min_ns"),
    "p90": ("p90 ms", "p90_ns"),
    "verdict": ("verdict", "verdict"),
    "energy": ("mJ", "energy_uj"),
    "accuracy": ("accuracy", "accuracy"),
    "efficiency": ("efficiency", "efficiency"),
    "acc@1": ("acc@1", "top1"),
    "acc@5": ("acc@5", "top5"),
    "device-acc@1": ("device acc@1", "device_top1"),
    "no-worse": ("no worse", "no_worse"),
    "runtime": ("runtime", "runtime_check"),
    "reasons": ("reasons", "reasons"),
}
_BY_HEADING: Final = {heading.lower(): word for word, (heading, _) in _COLUMNS.items()}
_VERDICTS: Final = list(Verdict)


def check_columns(columns: Sequence[str], sort: str | None, rows: Sequence[Row]) -> None:
    """Check the names of columns against those of the table and of `rows`; without rows any is good.

    Raises:
        UsageError: one is unknown; the message lists those of the table.
    """
    sort = sort.removeprefix("-") if sort else None
    for option, name in (*(("--columns", name) for name in columns), ("--sort", sort)):
        if rows and name is not None and _word(name) not in _COLUMNS and name not in rows[0]:
            raise UsageError(
                f"{option} {name!r} is no column; the columns are {', '.join(_COLUMNS)}, and those of "
                "`nnlite results --json`"
            )


def sorted_rows(rows: list[Row], sort: str | None) -> list[Row]:
    """Return `rows` in the order of a column, `-column` descending; rows without a value come last."""
    if sort is None:
        return rows
    word = _word(sort.removeprefix("-"))
    column = _COLUMNS[word][1] if word in _COLUMNS else word
    known = [row for row in rows if row[column] is not None]
    known.sort(key=lambda row: _sortable(column, row[column]), reverse=sort.startswith("-"))
    return known + [row for row in rows if row[column] is None]


def headings_of(columns: Sequence[str]) -> list[str]:
    """Return the columns of `presentation.result_row` that `columns` name."""
    return [_COLUMNS[_word(name)][0] if _word(name) in _COLUMNS else name for name in columns]


def _word(name: str) -> str:
    lower = name.lower()
    return _BY_HEADING.get(lower, lower if lower in _COLUMNS else name)


def _sortable(column: str, value: Any) -> Any:
    if column == "verdict":
        return _VERDICTS.index(value)
    return value.lower() if isinstance(value, str) else value
