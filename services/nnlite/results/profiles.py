"""Queries of further passes: the times of a model's operators, one by one or by type; sustained latency."""

from nnlite.results.reading import Database, Row, like, rows_of

#: Columns that name one profile: a measurement has one, under the name of each model that shares it.
KEY = ("campaign", "model", "precision", "device", "backend", "threads", "measurement_id")


def operators(
    database: Database, campaign: str | None = None, model: str | None = None, *, by_type: bool = False
) -> list[Row]:
    """Return the operators of every profile in order of execution, or summed by type, the slowest first.

    Args:
        model: a pattern, where `*` matches anything.
    """
    view, order = ("operator_type_profile", "time_ns DESC") if by_type else ("operator_profile", "index")
    return _of_view(database, view, campaign, model, f"{', '.join(KEY)}, {order}")


def passes(database: Database, campaign: str | None = None, model: str | None = None) -> list[Row]:
    """Return every pass of continuous inference: the rows of the view `sustained`; arguments likewise."""
    return _of_view(database, "sustained", campaign, model, ", ".join(KEY))


def _of_view(database: Database, view: str, campaign: str | None, model: str | None, order: str) -> list[Row]:
    statement = f"""
SELECT * FROM {view}
WHERE (CAST(:campaign AS text) IS NULL OR campaign = :campaign)
  AND (CAST(:model AS text) IS NULL OR model LIKE :model)
ORDER BY {order}
"""  # noqa: S608
    return rows_of(database, statement, {"campaign": campaign, "model": like(model)})


def missing(database: Database, campaign: str | None = None, model: str | None = None) -> list[Row]:
    """Return how many measurements could not be profiled, by reason, the most frequent first.

    Arguments as for `operators`.
    """
    return rows_of(
        database,
        """
SELECT x.profile->>'error' AS error, count(DISTINCT x.id) AS measurements
FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'skipped'
JOIN model m ON m.id = v.model_id
WHERE x.profile->>'error' IS NOT NULL AND (CAST(:campaign AS text) IS NULL OR c.name = :campaign)
  AND (CAST(:model AS text) IS NULL OR m.name LIKE :model)
GROUP BY x.profile->>'error' ORDER BY 2 DESC, 1
""",
        {"campaign": campaign, "model": like(model)},
    )
