"""Plans the next run of a benchmark: an artifact whose measurement is noisy is measured again.

Every run is a row of work of its own, and all results stay. The view `measurement_run` has them all, the view
`latency` the best one of each artifact, pool and backend.
"""

import uuid
from collections.abc import Collection

from sqlalchemy import Connection, text

from nnlite.db.tables import row_id
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import RunPurpose, Verdict

#: Verdicts of a measurement that another run may improve.
DISTURBED = frozenset({Verdict.NOISY, Verdict.THROTTLED})


def next_purpose(
    verdicts: Collection[Verdict], *, noisy_repeats: int, settings: MeasurementSettings
) -> RunPurpose | None:
    """Return why the artifact is measured again, or None.

    Args:
        verdicts: of the run that is complete, one for each backend.
        noisy_repeats: how many runs up to this one were made because the one before was noisy.
        settings: the limits.
    """
    if DISTURBED & set(verdicts) and noisy_repeats < settings.noisy_repeats:
        return RunPurpose.NOISY
    return None


def plan_next_run(
    connection: Connection,
    benchmark: uuid.UUID,
    verdicts: Collection[Verdict],
    settings: MeasurementSettings,
) -> None:
    """Add the run that follows a completed one, if any, in the caller's transaction.

    Nothing is sent: the reaper announces the row when its pause is over.
    """
    history = connection.execute(_HISTORY, {"id": benchmark}).one()
    purpose = next_purpose(verdicts, noisy_repeats=history.noisy_repeats, settings=settings)
    if purpose is None:
        return
    row = run_id(history.campaign_id, history.artifact_id, history.pool, history.run + 1)
    connection.execute(
        _ADD, {"id": row, "last": benchmark, "purpose": purpose, "pause": pause_s(row, settings)}
    )


def run_id(campaign: uuid.UUID | None, artifact: uuid.UUID, pool: str, run: int) -> uuid.UUID:
    """Return the id of a run of a benchmark, numbered from 1."""
    return row_id("benchmark", campaign, artifact, pool, *([run] if run > 1 else []))


def pause_s(row: uuid.UUID, settings: MeasurementSettings) -> float:
    """Return the seconds before a run may start: the setting, up to twice as long, drawn from the row's id.

    So runs come in another order than those before them, and in the same one wherever it is computed.
    """
    return settings.repeat_pause_s * (1 + row.int % 2**32 / 2**32)


def retry_noisy(connection: Connection, campaign: uuid.UUID) -> list[uuid.UUID]:
    """Add a run, available now, for each artifact of the campaign whose best result is noisy or throttled.

    Artifacts that are still to be measured again are left as they are.

    Returns:
        The new rows.
    """
    parameters = {"campaign": campaign, "disturbed": sorted(DISTURBED)}
    last = connection.execute(_NOISY, parameters).all()
    rows = [run_id(campaign, each.artifact_id, each.pool, each.run + 1) for each in last]
    for row, each in zip(rows, last, strict=True):
        connection.execute(_ADD, {"id": row, "last": each.id, "purpose": RunPurpose.NOISY, "pause": 0})
    return rows


_HISTORY = text("""
SELECT b.campaign_id, b.artifact_id, b.pool, b.run,
       b.run - (SELECT max(run) FROM benchmark r
                WHERE r.campaign_id = b.campaign_id AND r.artifact_id = b.artifact_id AND r.pool = b.pool
                  AND r.run <= b.run AND r.purpose <> 'noisy') AS noisy_repeats
FROM benchmark b WHERE b.id = :id
""")

_ADD = text("""
INSERT INTO benchmark (id, campaign_id, conversion_id, artifact_id, pool, priority, state, run, purpose,
                       available_at)
SELECT :id, campaign_id, conversion_id, artifact_id, pool, priority, 'queued', run + 1, :purpose,
       now() + make_interval(secs => :pause)
FROM benchmark WHERE id = :last
ON CONFLICT DO NOTHING
""")

_NOISY = text("""
WITH last AS (
    SELECT DISTINCT ON (artifact_id, pool) id, artifact_id, pool, run, state
    FROM benchmark WHERE campaign_id = :campaign ORDER BY artifact_id, pool, run DESC
)
SELECT id, artifact_id, pool, run FROM last
WHERE state NOT IN ('queued', 'running') AND EXISTS (
    SELECT FROM latency l JOIN benchmark b ON b.id = l.benchmark_id
    WHERE b.campaign_id = :campaign AND b.artifact_id = last.artifact_id AND b.pool = last.pool
      AND l.verdict = ANY(:disturbed)
)
""")
