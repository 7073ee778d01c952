"""Watches the speed of a device over days: a lasting change of its canaries re-opens what was measured since.

A machine that others use too has two speeds and changes between them all the time. So a change is what leaves
the range in which almost all canaries of the device were before, and what most of the last ones agree on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median_low
from typing import Final

import structlog
from sqlalchemy import Connection, text

from nnlite.db.rows import row_id
from nnlite.reports.schema import BenchmarkReport, Canary
from nnlite.results.devices import cpu_configuration
from nnlite.results.repeats import reopen
from nnlite.settings.groups import MeasurementSettings

log = structlog.get_logger()

#: The last canaries, of which three quarters must be beyond the range of those before.
WINDOW: Final = 12
#: Fewest canaries before them.
FEWEST: Final = 36
#: Canaries that are remembered, the last ones included.
MEMORY: Final = 200
#: Share of the canaries before that may lie beyond their range, on either side: outliers.
_OUTLIERS: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Change:
    """A lasting change in a series of canaries."""

    #: Index of the first canary of the new speed.
    first: int
    #: Median of the canaries before and since.
    before_ns: int
    after_ns: int


def find_change(series_ns: Sequence[int], limit: float) -> Change | None:
    """Return the change of which the last canaries of a series are the evidence, or None.

    Args:
        series_ns: in chronological order.
        limit: what is slower or faster by less is no change.
    """
    if len(series_ns) < FEWEST + WINDOW:
        return None
    known, last = sorted(series_ns[:-WINDOW]), sorted(series_ns[-WINDOW:])
    outliers, quarter = int(len(known) * _OUTLIERS), WINDOW // 4
    slowest_ns = known[-1 - outliers] * (1 + limit)
    fastest_ns = known[outliers] / (1 + limit)
    if last[quarter] > slowest_ns:
        changed = [ns > slowest_ns for ns in series_ns]
    elif last[-1 - quarter] < fastest_ns:
        changed = [ns < fastest_ns for ns in series_ns]
    else:
        return None
    first = _first(changed)
    return Change(
        first=first, before_ns=median_low(series_ns[:first]), after_ns=median_low(series_ns[first:])
    )


def watch_canaries(connection: Connection, report: BenchmarkReport, settings: MeasurementSettings) -> None:
    """Add the canaries of a benchmark to the series of its device, and re-open rows after a change.

    Call it in the transaction that records the benchmark.
    """
    # Others were refused: by the runtime, or before it was asked.
    canaries = [(each, each.canary) for each in report.measurements if each.canary is not None]
    if not canaries:
        return
    device, (first, _) = row_id("device", report.device.name), canaries[0]
    runtime = f"{first.runtime} {first.runtime_version}"
    configuration = cpu_configuration(runtime, settings.threads, report.device.measuring_cores)
    key = {"device": device, "configuration": configuration}
    connection.execute(_ADD, [{**key, "ns": ns} for _, canary in canaries for ns in _ran_ns(canary)])
    series = connection.execute(_SERIES, {**key, "memory": MEMORY}).all()[::-1]
    if series[-1].since_change < WINDOW:
        return  # these canaries are the evidence of the last change
    change = find_change([row.ns for row in series], settings.max_canary_drift)
    if change is None:
        return
    since = series[change.first].created_at
    reopened = reopen(connection, device, since, settings)
    connection.execute(
        _CHANGED,
        {
            **key,
            "canary": series[-1].id,
            "before": change.before_ns,
            "after": change.after_ns,
            "since": since,
            "reopened": reopened,
        },
    )
    log.warning(
        "the device has changed its speed; what was measured since is measured again",
        device=report.device.name,
        canary_before_ns=change.before_ns,
        canary_after_ns=change.after_ns,
        since=since.isoformat(),
        reopened=reopened,
    )


def _first(changed: Sequence[bool]) -> int:
    """Return the index that best separates canaries of the old speed from those of the new one."""
    balance = list(accumulate(-1 if flag else 1 for flag in changed))
    return balance.index(max(balance)) + 1


def _ran_ns(canary: Canary) -> list[int]:
    """Return the canaries that ran around a measurement; one that was reused ran around the one before."""
    return [canary.after_p25_ns] if canary.reused else [canary.before_p25_ns, canary.after_p25_ns]


_ADD = text("INSERT INTO device_canary (device_id, configuration, ns) VALUES (:device, :configuration, :ns)")

_SERIES = text("""
WITH series AS (
    SELECT id, ns, created_at FROM device_canary
    WHERE device_id = :device AND configuration = :configuration ORDER BY id DESC LIMIT :memory
)
SELECT id, ns, created_at, count(*) FILTER (WHERE id > coalesce((
    SELECT max(canary_id) FROM canary_change WHERE device_id = :device AND configuration = :configuration
), 0)) OVER () AS since_change
FROM series ORDER BY id DESC
""")

_CHANGED = text("""
INSERT INTO canary_change (device_id, configuration, canary_id, before_ns, after_ns, since, reopened)
VALUES (:device, :configuration, :canary, :before, :after, :since, :reopened)
""")
