"""How results read in a terminal: milliseconds, megabytes, one line per measurement or failure."""

from collections.abc import Sequence
from typing import Any

from nnlite.results.queries import Progress, Row

#: Always shown; the others only where they tell rows apart.
_RESULT_COLUMNS = ("model", "parameters", "size", "parity", "median ms", "p90 ms", "CV", "verdict")
_DISTINGUISHING = ("campaign", "precision", "device", "backend")
FAILURE_COLUMNS = ("model", "work", "state", "class", "stage", "reason")
CAMPAIGN_COLUMNS = ("name", "state", "models", "converted", "measured", "failed", "left_out", "waiting")
_LONGEST_REASON = 160


def result_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns that `rows`, made by `result_row`, need; what is equal everywhere is not shown."""
    telling = [name for name in _DISTINGUISHING if len({row[name] for row in rows}) > 1]
    why = ["reasons"] if any(row["reasons"] for row in rows) else []
    first, *others = _RESULT_COLUMNS
    return [first, *telling, *others, *why]


def result_row(row: Row) -> Row:
    """Return one measurement as people read it."""
    return {
        "campaign": row["campaign"],
        "model": row["model"],
        "precision": row["precision"],
        "parameters": None if row["parameters"] is None else f"{row['parameters']:,}",
        "size": size(row["size_bytes"]),
        "parity": _parity(row),
        "device": row["device"],
        "backend": row["backend"],
        "median ms": milliseconds(row["median_ns"]),
        "p90 ms": milliseconds(row["p90_ns"]),
        "CV": None if row["cv"] is None else f"{row['cv']:.1%}",
        "verdict": row["verdict"],
        "reasons": _reasons(row),
    }


def failure_row(row: Row) -> Row:
    """Return one failure as people read it."""
    return {**row, "reason": shorten(row["reason"] or "")}


def campaign_row(progress: Progress) -> Row:
    """Return one campaign as people read it."""
    state = "ended" if progress.ended and progress.state == "active" else progress.state
    return {
        "name": progress.name,
        "state": state,
        "models": progress.models,
        "converted": progress.converted,
        "measured": progress.measured,
        "failed": progress.failed,
        "left_out": progress.left_out,
        "waiting": progress.remaining,
    }


def milliseconds(duration_ns: int | None) -> str | None:
    """Return a duration in milliseconds with three significant digits or more."""
    if duration_ns is None:
        return None
    value = duration_ns / 1e6
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def size(size_bytes: int) -> str:
    """Return a file size in kB or MB (powers of ten)."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def shorten(reason: str) -> str:
    """Return the first line of `reason`, cut where it is too long for a table."""
    line = reason.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"


def csv_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return measurements for a spreadsheet: every column, lists joined with spaces."""
    return [
        {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in row.items()}
        for row in rows
    ]


def _parity(row: Row) -> str:
    relative = row["parity_relative"]
    number = "" if relative is None else f"{relative:.0e} "
    return f"{number}{'ok' if row['parity_ok'] else 'off'}"


def _reasons(row: Row) -> str:
    reasons: list[str] = list(row["reasons"])
    if "partial_delegation" in reasons:
        taken = f"partial_delegation {row['delegated_nodes']}/{row['total_nodes']}"
        reasons[reasons.index("partial_delegation")] = taken
    if row["error"]:
        reasons.append(shorten(row["error"]))
    return ", ".join(reasons)
