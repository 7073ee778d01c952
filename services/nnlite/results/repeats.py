"""Plans the next run of a benchmark: one was noisy, several are asked for, an audit, or its device changed.

Every run is a row of work of its own, and all results stay. The view `measurement_run` has them all, the view
`latency` the best one of each artifact, pool, backend and number of threads.
"""

import math
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from nnlite.db.rows import row_id
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import DISTURBED, RunPurpose, Verdict

_AUDIT_SHARE_OF_AGE = 0.1
_MAX_AUDIT_PAUSE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class History:
    """The runs of an artifact on a pool in one campaign, up to a completed one."""

    #: Verdicts of the completed one, one for each backend and number of threads.
    verdicts: Collection[Verdict]
    #: How many runs up to this one were made because the one before was noisy.
    noisy_repeats: int
    #: Runs that the campaign asks for, and how many of these there are.
    asked: int
    planned: int
    #: The artifact is among those that are measured again as a check, and has not been.
    audit_due: bool


def next_purpose(history: History, settings: MeasurementSettings) -> RunPurpose | None:
    """Return why the artifact is measured again, or None."""
    if DISTURBED & set(history.verdicts) and history.noisy_repeats < settings.noisy_repeats:
        return RunPurpose.NOISY
    if set(history.verdicts) <= {Verdict.INVALID}:
        return None  # the next run would be invalid too
    if history.planned < history.asked:
        return RunPurpose.REPEAT
    return RunPurpose.AUDIT if history.audit_due else None


def is_audited(campaign: uuid.UUID, place: int, share: float) -> bool:
    """Whether a model's artifacts are among the share of a campaign that is audited.

    Of n models that is n times the share, rounded up or down; drawing each by itself would often give none.

    Args:
        campaign: its id, from which the first one follows.
        place: of the model's conversion among those of the campaign by id, from 1. Ids look random.
        share: from 0 to 1.
    """
    offset = _fraction(campaign)
    return math.floor(place * share + offset) > math.floor((place - 1) * share + offset)


def plan_next_run(
    connection: Connection,
    benchmark: uuid.UUID,
    verdicts: Collection[Verdict],
    settings: MeasurementSettings,
) -> None:
    """Add the run that follows a completed one, if any, in the caller's transaction.

    Nothing is sent: the reaper announces the row when its pause is over.
    """
    row = connection.execute(_HISTORY, {"id": benchmark}).one()
    if row.purpose == RunPurpose.REPRODUCE:
        return  # whatever it shows, the result stays as it is
    key = (row.campaign_id, row.artifact_id, row.pool)
    history = History(
        verdicts=verdicts,
        noisy_repeats=row.noisy_repeats,
        asked=row.asked,
        planned=row.planned,
        audit_due=row.audits == 0 and is_audited(row.campaign_id, row.place, settings.audit_share),
    )
    if (purpose := next_purpose(history, settings)) is None:
        return
    following = run_id(*key, row.run + 1)
    pause = pause_s(following, settings)
    if purpose is RunPurpose.AUDIT:
        # Later in a long campaign, which it lengthens by no more than a tenth.
        pause += _fraction(following) * min(_AUDIT_SHARE_OF_AGE * row.age_s, _MAX_AUDIT_PAUSE_S)
    connection.execute(_ADD, {"id": following, "last": benchmark, "purpose": purpose, "pause": pause})


def run_id(campaign: uuid.UUID | None, artifact: uuid.UUID, pool: str, run: int) -> uuid.UUID:
    """Return the id of a run of a benchmark, numbered from 1."""
    return row_id("benchmark", campaign, artifact, pool, *([run] if run > 1 else []))


def pause_s(row: uuid.UUID, settings: MeasurementSettings) -> float:
    """Return the seconds before a run may start: the setting, up to twice as long, drawn from the row's id.

    So runs come in another order than those before them, and in the same one wherever it is computed.
    """
    return settings.repeat_pause_s * (1 + _fraction(row))


def _fraction(row: uuid.UUID) -> float:
    """Return a number from 0 to below 1 that looks random and is always the same for the row."""
    return row.int % 2**32 / 2**32


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


def reopen(connection: Connection, device: uuid.UUID, since: datetime, settings: MeasurementSettings) -> int:
    """Add a run for each artifact that was measured on a device since then; return how many.

    Not for those that are to be measured again anyway, nor in cancelled campaigns.
    """
    last = connection.execute(_MEASURED_SINCE, {"device": device, "since": since}).all()
    for each in last:
        row = run_id(each.campaign_id, each.artifact_id, each.pool, each.run + 1)
        pause = pause_s(row, settings)
        connection.execute(_ADD, {"id": row, "last": each.id, "purpose": RunPurpose.CANARY, "pause": pause})
    return len(last)


def add_reproduction(connection: Connection, benchmark: uuid.UUID) -> uuid.UUID | None:
    """Add a run, available now, that shows whether the result of `benchmark` comes again, and return its row.

    None: the artifact is being measured on the pool, or waits for it.
    """
    last = connection.execute(_LAST, {"id": benchmark}).one()
    if last.pending:
        return None
    row = run_id(last.campaign_id, last.artifact_id, last.pool, last.run + 1)
    connection.execute(_ADD, {"id": row, "last": last.id, "purpose": RunPurpose.REPRODUCE, "pause": 0})
    return row


_LAST = text("""
SELECT r.id, r.campaign_id, r.artifact_id, r.pool, r.run,
       bool_or(r.state IN ('queued', 'running')) OVER () AS pending
FROM benchmark b
JOIN benchmark r ON r.campaign_id = b.campaign_id AND r.artifact_id = b.artifact_id AND r.pool = b.pool
WHERE b.id = :id ORDER BY r.run DESC LIMIT 1
""")

_HISTORY = text("""
SELECT b.campaign_id, b.artifact_id, b.pool, b.run, b.purpose, r.noisy_repeats, r.planned, r.audits,
       coalesce((c.request->>'repeat')::bigint, 1) AS asked,
       extract(epoch FROM now() - c.created_at)::float8 AS age_s, (
           SELECT count(*) FROM conversion
           WHERE campaign_id = b.campaign_id AND id <= b.conversion_id
       ) AS place
FROM benchmark b JOIN campaign c ON c.id = b.campaign_id
CROSS JOIN LATERAL (
    SELECT b.run - max(run) FILTER (WHERE purpose <> 'noisy') AS noisy_repeats,
           count(*) FILTER (WHERE purpose IN ('first', 'repeat')) AS planned,
           count(*) FILTER (WHERE purpose = 'audit') AS audits
    FROM benchmark
    WHERE campaign_id = b.campaign_id AND artifact_id = b.artifact_id AND pool = b.pool AND run <= b.run
) r
WHERE b.id = :id
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

_MEASURED_SINCE = text("""
WITH last AS (
    SELECT DISTINCT ON (b.campaign_id, b.artifact_id, b.pool)
           b.id, b.campaign_id, b.artifact_id, b.pool, b.run, b.state
    FROM benchmark b JOIN campaign c ON c.id = b.campaign_id AND c.state <> 'cancelled'
    WHERE (b.campaign_id, b.artifact_id, b.pool) IN (
        SELECT m.campaign_id, m.artifact_id, m.pool
        FROM measurement x JOIN benchmark m ON m.id = x.benchmark_id
        WHERE x.device_id = :device AND x.created_at >= :since AND x.verdict <> 'invalid'
          AND m.purpose <> 'reproduce'
    )
    ORDER BY b.campaign_id, b.artifact_id, b.pool, b.run DESC
)
SELECT * FROM last WHERE state NOT IN ('queued', 'running')
""")
