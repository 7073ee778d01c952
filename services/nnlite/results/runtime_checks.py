"""Runtime checks: which artifact is checked next, and what a check stores.

A check takes a second or two and is wanted for every artifact, also for old ones. So it has no message and
no campaign: a worker polls for the newest artifact without one. Otherwise its row is work like any other,
leased by `nnlite.worker.attempt`.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from nnlite.db.engine import autocommit, storable
from nnlite.vocabulary import RuntimeVerdict


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Result of running one file with one version of the runtime."""

    verdict: RuntimeVerdict
    #: The refused operator, where the runtime names one.
    operator: str | None = None
    operator_version: int | None = None
    #: The runtime's error message, or how far the outputs are off.
    reason: str | None = None
    #: Comparison with the host's outputs; None: nothing was compared.
    parity: Mapping[str, Any] | None = None


def next_check(engine: Engine, runtime_version: str) -> uuid.UUID | None:
    """Return the row of the newest artifact that this version can check now; None if there is none.

    The row is created if the file has none yet. Another worker may claim it first.
    """
    with autocommit(engine) as connection:
        row: uuid.UUID | None = connection.scalar(_NEXT, {"version": runtime_version})
    return row


def record_check(connection: Connection, row: uuid.UUID, result: CheckResult) -> None:
    """Store the result of a check, except its reason, in the transaction that completes its attempt."""
    values = {
        "id": row,
        "verdict": result.verdict,
        "operator": storable(result.operator),
        "operator_version": result.operator_version,
        "parity": storable(result.parity),
    }
    connection.execute(_RECORD, values)


def pending(engine: Engine, campaign: str, runtime_version: str) -> int:
    """Return how many artifacts of a campaign are being checked or can be now; later retries do not count."""
    with engine.connect() as connection:
        return connection.scalar(_PENDING, {"campaign": campaign, "version": runtime_version}) or 0


_CLAIMABLE = "(k.state IS NULL OR k.state = 'queued' AND k.available_at <= now())"

_NEXT = text(f"""
WITH newest AS (
    SELECT a.sha256, k.id
    FROM artifact a
    LEFT JOIN runtime_check k ON k.artifact_sha256 = a.sha256 AND k.runtime_version = :version
    WHERE a.path LIKE '%.tflite' AND {_CLAIMABLE}
    ORDER BY a.created_at DESC LIMIT 1
), created AS (
    INSERT INTO runtime_check (artifact_sha256, runtime_version, state)
    SELECT sha256, :version, 'queued' FROM newest WHERE id IS NULL
    ON CONFLICT (artifact_sha256, runtime_version) DO NOTHING
    RETURNING id
)
SELECT id FROM newest WHERE id IS NOT NULL UNION ALL SELECT id FROM created
""")  # noqa: S608

_RECORD = text("""
UPDATE runtime_check
SET verdict = :verdict, operator = :operator, operator_version = :operator_version, parity = :parity
WHERE id = :id
""").bindparams(bindparam("parity", type_=JSONB(none_as_null=True)))

_PENDING = text(f"""
SELECT count(DISTINCT a.sha256)
FROM benchmark b JOIN campaign c ON c.id = b.campaign_id JOIN artifact a ON a.id = b.artifact_id
LEFT JOIN runtime_check k ON k.artifact_sha256 = a.sha256 AND k.runtime_version = :version
WHERE c.name = :campaign AND a.path LIKE '%.tflite' AND ({_CLAIMABLE} OR k.state = 'running')
""")  # noqa: S608
