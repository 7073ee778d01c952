"""Queries of sustained latency: first level and plateau of passes of continuous inference."""

from nnlite.results.reading import Database, Row, like, rows_of


def passes(database: Database, campaign: str | None = None, model: str | None = None) -> list[Row]:
    """Return every pass; the rows are those of the view `sustained`.

    Args:
        model: a pattern, where `*` matches anything.
    """
    return rows_of(
        database,
        """
SELECT * FROM sustained
WHERE (CAST(:campaign AS text) IS NULL OR campaign = :campaign)
  AND (CAST(:model AS text) IS NULL OR model LIKE :model)
ORDER BY campaign, model, precision, device, backend, threads, measurement_id
""",
        {"campaign": campaign, "model": like(model)},
    )
