"""Says what there is where an export finds nothing to write."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from nnlite.errors import NnliteError
from nnlite.vocabulary import DeviceKind, Verdict


def nothing_written(
    connection: Connection,
    names: Mapping[str, Sequence[str]],
    way_out: str,
    without_results: str = "nnlite run --limit 5 makes some",
) -> NnliteError:
    """Return the error of an export that finds nothing: what there is instead, and what to do.

    Args:
        names: of `campaigns`, `pools` and `devices`, whose results were looked for; none: all.
        way_out: what chooses other results, or makes those that this export writes.
        without_results: what to do where there is none of any kind.
    """
    campaigns, pools, devices = (names.get(each, ()) for each in ("campaigns", "pools", "devices"))
    parameters = {"campaigns": list(campaigns), "pools": list(pools), "devices": list(devices)}
    rows = connection.execute(_BENCHMARKS, parameters).all()
    kinds, verdicts = Counter[str](), Counter[str]()
    for kind, verdict, number in rows:
        if kind is not None:
            kinds[kind] += number
            verdicts[verdict or Verdict.INVALID] += number
    of = f" of campaign {', '.join(campaigns)}" if campaigns else ""
    where = "".join(f" on {' or '.join(each)}" for each in (pools, devices) if each)
    outstanding = sum(number for kind, _, number in rows if kind is None)
    if kinds:
        by_kind = _listed(kinds, [str(kind) for kind in DeviceKind])
        by_verdict = _listed(verdicts, [str(verdict) for verdict in Verdict])
        there = f"of the results{of}{where} ({by_kind}; {by_verdict}) none fits; {way_out}"
    elif outstanding:
        there = f"no measurement{of}{where} has a result (without one: {outstanding}); see nnlite status"
    else:
        there = f"there is no result{of}{where}; {without_results}"
    return NnliteError(f"nothing was written: {there}")


def _listed(numbers: Counter[str], names: Sequence[str]) -> str:
    return ", ".join(f"{numbers[name]} {name}" for name in names if numbers[name])


# Each artifact on each pool, with its best verdict of all runs.
_BENCHMARKS = text("""
SELECT kind, verdict, count(*) FROM (
    SELECT DISTINCT ON (b.campaign_id, b.artifact_id, b.pool)
           b.report->'device'->>'kind' AS kind, CAST(x.verdict AS text) AS verdict
    FROM benchmark b
    JOIN campaign c ON c.id = b.campaign_id
    LEFT JOIN measurement x ON x.benchmark_id = b.id
    WHERE b.purpose <> 'reproduce'
      AND (cardinality(CAST(:campaigns AS text[])) = 0 OR c.name = ANY(:campaigns))
      AND (cardinality(CAST(:pools AS text[])) = 0 OR b.pool = ANY(:pools))
      AND (cardinality(CAST(:devices AS text[])) = 0 OR b.report->'device'->>'name' = ANY(:devices))
    ORDER BY b.campaign_id, b.artifact_id, b.pool, b.report IS NULL,
             array_position(ARRAY['valid', 'noisy', 'throttled', 'invalid'], CAST(x.verdict AS text))
) benchmark GROUP BY kind, verdict
""")
