"""The op atlas: which operators are converted in which precision.

From the operator suite, whose results are a file of this package (`make atlas` writes it), and from
everything that was ever converted (view `op_support`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson

from nnlite.results.reading import Database, Row, rows_of
from nnlite.vocabulary import Precision

#: File of the suite's results, next to this module.
SUITE: Final = "operator_suite.json"
#: Of an operator in a precision, in the order of listings. `wrong`: parity said `ok`, further inputs differ.
STATES: Final = ("ok", "off", "unknown", "refused", "wrong")


@cache
def suite() -> dict[str, Any]:
    """Return the suite's results: `made_by`, `all` (number of cases in the suite), and `cases`."""
    content: dict[str, Any] = orjson.loads(files("nnlite.results").joinpath(SUITE).read_bytes())
    return content


def cases() -> list[Row]:
    """Return every case of the suite in every precision: operator, variant, precision, state, reason."""
    return [
        {
            "operator": case["operator"],
            "variant": case["variant"],
            "precision": precision,
            "state": state,
            "reason": case["reasons"].get(precision, case["reasons"].get("*")),
        }
        for case in suite()["cases"]
        for precision, state in case["states"].items()
    ]


def support(database: Database) -> list[Row]:
    """Return for each operator, precision and state how many models were converted, or refused for it."""
    return rows_of(database, "SELECT * FROM op_support ORDER BY operator, precision, state", {})


def atlas(tried: Iterable[Row], converted: Iterable[Row]) -> list[Row]:
    """Return operator, precision, state, number of cases and number of models, sorted.

    Args:
        tried: rows of `cases`.
        converted: rows of `support`.
    """
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for row in tried:
        counts[row["operator"], row["precision"], row["state"]]["cases"] += 1
    for row in converted:
        counts[row["operator"], row["precision"], row["state"]]["models"] += row["models"]
    return [
        {
            "operator": operator,
            "precision": precision,
            "state": state,
            "cases": counted["cases"],
            "models": counted["models"],
        }
        for (operator, precision, state), counted in sorted(counts.items(), key=lambda item: _order(item[0]))
    ]


def table(rows: Sequence[Row]) -> list[Row]:
    """Return the atlas for people: a row for each operator and the precisions that are alike.

    Columns: operator, precision (several, with spaces), suite, models; the latter two such as `21 ok, 1 off`.
    """
    by_operator: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_operator[row["operator"]][row["precision"]].append(row)
    listed = []
    for operator, precisions in by_operator.items():
        alike: dict[tuple[str, str], list[str]] = defaultdict(list)
        for precision, of_states in precisions.items():
            alike[_counted(of_states, "cases"), _counted(of_states, "models")].append(precision)
        listed += [
            {"operator": operator, "precision": " ".join(which), "suite": tried, "models": converted}
            for (tried, converted), which in alike.items()
        ]
    return listed


def _counted(rows: Iterable[Row], what: str) -> str:
    return ", ".join(f"{row[what]:,} {row['state']}" for row in rows if row[what])


def _order(key: tuple[str, str, str]) -> tuple[str, int, int]:
    operator, precision, state = key
    return operator, [*Precision].index(Precision(precision)), STATES.index(state)
