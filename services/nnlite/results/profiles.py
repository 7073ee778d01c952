"""Queries of profiles: the times of a model's operators, one by one or by type."""

from sqlalchemy import Engine

from nnlite.results.queries import Row, like, rows_of

#: Columns that name one profile.
KEY = ("campaign", "model", "precision", "device", "backend", "threads")


def operators(
    engine: Engine, campaign: str | None = None, model: str | None = None, *, by_type: bool = False
) -> list[Row]:
    """Return the operators of every profile in order of execution, or summed by type, the slowest first.

    Args:
        campaign: only this one.
        model: a pattern, where `*` matches anything.
        by_type: one row for each type of a profile.
    """
    view, order = ("operator_type_profile", "time_ns DESC") if by_type else ("operator_profile", "index")
    return rows_of(
        engine,
        f"""
SELECT * FROM {view}
WHERE (CAST(:campaign AS text) IS NULL OR campaign = :campaign)
  AND (CAST(:model AS text) IS NULL OR model LIKE :model)
ORDER BY {", ".join(KEY)}, {order}
""",  # noqa: S608
        {"campaign": campaign, "model": like(model)},
    )


def missing(engine: Engine, campaign: str | None = None) -> list[Row]:
    """Return how many measurements could not be profiled, by reason, the most frequent first."""
    return rows_of(
        engine,
        """
SELECT x.profile->>'error' AS error, count(*) AS measurements
FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id JOIN campaign c ON c.id = b.campaign_id
WHERE x.profile->>'error' IS NOT NULL AND (CAST(:campaign AS text) IS NULL OR c.name = :campaign)
GROUP BY x.profile->>'error' ORDER BY 2 DESC, 1
""",
        {"campaign": campaign},
    )
