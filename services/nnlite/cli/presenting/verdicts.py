"""Summary of a campaign's results by verdict and cause, and what would make more of them valid."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Final

from nnlite.results.reading import Row
from nnlite.vocabulary import DISTURBED, ENOUGH_PAIRS, Verdict

#: Beginning of a cause, as `nnlite_benchmark.protocol.analysis.noise` writes it; its name; what helps.
_CAUSES: Final = (
    ("steal", "steal", "a machine whose cores are not shared with others"),
    ("shared core", "shared core", "a machine whose cores are not shared with others"),
    ("other processes", "other processes", "fewer other programs, or NNLITE_MEASUREMENT__CORES"),
    ("frequency", "frequency", "a fixed CPU frequency (governor `performance`)"),
    ("thermal", "heat", "cooling"),
    ("conversions", "conversions", "a longer NNLITE_MEASUREMENT__QUIET_TIMEOUT_S"),
    ("the app", "not in front", "devices that nobody uses meanwhile"),
    ("memory", "memory pressure", "more memory, or fewer converters"),
    ("I/O", "I/O pressure", "less disk traffic"),
)


def verdict_lines(rows: Sequence[Row], campaign: str | None) -> list[str]:
    """Return the lines that a campaign ends with; none if it has no result.

    Args:
        rows: of `queries.verdicts`, or of `queries.latencies` with `measurements`.
        campaign: whose they are; None: of all campaigns.
    """
    counts, why = Counter[str](), {verdict: Counter[str]() for verdict in Verdict}
    for row in rows:
        verdict = Verdict(row["verdict"])
        counts[verdict] += row["measurements"]
        if verdict is not Verdict.VALID:
            why[verdict][_why(row)] += row["measurements"]
    parts = [f"{counts[verdict]} {verdict}{_listed(why[verdict])}" for verdict in Verdict if counts[verdict]]
    lines = [f"results: {', '.join(parts)}"] if parts else []
    pairs = [row["interval_pairs"] for row in rows if row["verdict"] != Verdict.INVALID]
    if pairs and (fewest := min(pairs)) < ENOUGH_PAIRS:
        lines.append(
            f"± is in part assumed: {fewest} of {ENOUGH_PAIRS} pairs of runs known; "
            "--repeat 5 adds 4 per model"
        )
    if campaign and (disturbed := sum(counts[verdict] for verdict in DISTURBED)):
        causes = why[Verdict.NOISY] + why[Verdict.THROTTLED]
        helps = dict.fromkeys(hint for _, name, hint in _CAUSES if causes[name])
        hint = f"what helps: {'; '.join(helps)}. " if helps else ""
        lines.append(f"{hint}To measure the {disturbed} again: nnlite retry {shlex.quote(campaign)} --noisy")
    return lines


def _why(row: Row) -> str:
    """Return the first cause without its numbers, or the reasons of the verdict."""
    cause: str = row["noise_cause"] or ""
    known = (name for beginning, name, _ in _CAUSES if cause.startswith(beginning))
    first = cause.partition(",")[0].partition(":")[0]
    return next(known, first) or ", ".join(row["reasons"]) or "reason not recorded"


def _listed(causes: Counter[str]) -> str:
    return f" ({', '.join(f'{count} {name}' for name, count in causes.most_common())})" if causes else ""
