"""Rows of runtime checks: claimed, renewed, ended; one per `.tflite` file and version of the runtime.

They have no messages and no campaign. A check takes a second or two and is wanted for every artifact, old
ones too, so a worker asks Postgres for the newest one that has none. The rules are those of `queue.leases`:
one statement claims, every later write names the attempt, and one that finds no row has lost its right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from nnlite.db.engine import autocommit, storable
from nnlite.errors import Failure
from nnlite.queue.leases import LeaseLostError
from nnlite.queue.retry import Counters, Decision
from nnlite.vocabulary import RuntimeVerdict, WorkState


@dataclass(frozen=True, kw_only=True)
class CheckClaim:
    """One attempt's right to check one file, and what that takes."""

    artifact_sha256: str
    runtime_version: str
    attempt: int
    strikes: int
    losses: int
    #: The artifact's row.
    artifact: Mapping[str, Any]

    @property
    def counters(self) -> Counters:
        """What `decide` needs to know; every fault counts, because nothing but the file has a part in it."""
        return Counters(
            strikes=self.strikes,
            losses=self.losses,
            device_failures=1,
            infrastructure_failures=self.attempt - 1,
        )


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the runtime made of a file."""

    verdict: RuntimeVerdict
    #: That was refused, where the runtime names one.
    operator: str | None = None
    operator_version: int | None = None
    #: In the runtime's words, or how far the outputs are off.
    reason: str | None = None
    #: Against the host's outputs; None: nothing was compared.
    parity: Mapping[str, Any] | None = None


def claim(engine: Engine, runtime_version: str, node: str, lease_s: float) -> CheckClaim | None:
    """Take the newest artifact that this version has not been tried with; None: there is none."""
    with autocommit(engine) as connection:
        parameters = {"version": runtime_version, "node": node, "lease": lease_s}
        found = connection.execute(_CLAIM, parameters).mappings().one_or_none()
    if found is None:
        return None
    columns = dict(found)
    right = {name: columns.pop(name) for name in ("runtime_version", "attempt", "strikes", "losses")}
    return CheckClaim(artifact_sha256=columns["sha256"], artifact=columns["artifact"], **right)


def renew(engine: Engine, claim: CheckClaim, lease_s: float) -> None:
    """Renew the lease.

    Raises:
        LeaseLostError: the row is another attempt's; stop.
    """
    _write(engine, claim, "lease_until = now() + make_interval(secs => :lease)", {"lease": lease_s})


def finish(engine: Engine, claim: CheckClaim, checked: Checked) -> None:
    """End the attempt with its verdict.

    Raises:
        LeaseLostError: nothing was written.
    """
    values = {
        "state": WorkState.DONE,
        "verdict": checked.verdict,
        "operator": storable(checked.operator),
        "operator_version": checked.operator_version,
        "reason": storable(checked.reason),
        "parity": storable(checked.parity),
    }
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    _write(engine, claim, f"{assignments}, failure_class = NULL, {_ENDED}", values)


def fail(engine: Engine, claim: CheckClaim, failure: Failure, decision: Decision) -> None:
    """End the attempt without a verdict: it is tried again, or rests.

    Raises:
        LeaseLostError: nothing was written.
    """
    values = {
        "state": decision.state,
        "strikes": decision.strikes,
        "losses": decision.losses,
        "pause": decision.pause_s,
        "failure_class": failure.failure_class,
        "reason": storable(failure.reason),
    }
    _write(
        engine,
        claim,
        "state = :state, strikes = :strikes, losses = :losses, failure_class = :failure_class, "
        f"reason = :reason, available_at = now() + make_interval(secs => :pause), {_ENDED}",
        values,
    )


def requeue_of_node(engine: Engine, node: str) -> int:
    """Let what an earlier instance of this worker held be claimed at once, and return how many that were."""
    with autocommit(engine) as connection:
        return connection.execute(_GIVE_BACK, {"node": node}).rowcount


def pending(engine: Engine, campaign: str, runtime_version: str) -> int:
    """Return how many artifacts of a campaign are being checked or still to be; those that pause are not."""
    with engine.connect() as connection:
        return connection.scalar(_PENDING, {"campaign": campaign, "version": runtime_version}) or 0


def _write(engine: Engine, claim: CheckClaim, assignments: str, values: Mapping[str, Any]) -> None:
    statement = text(f"""
UPDATE runtime_check SET {assignments}
WHERE artifact_sha256 = :sha256 AND runtime_version = :version AND state = 'running' AND attempt = :attempt
""")  # noqa: S608  (names of columns, all from above)
    if "parity" in values:
        statement = statement.bindparams(bindparam("parity", type_=JSONB(none_as_null=True)))
    right = {
        "sha256": claim.artifact_sha256,
        "version": claim.runtime_version,
        "attempt": claim.attempt,
    }
    with autocommit(engine) as connection:
        if connection.execute(statement, {**values, **right}).rowcount == 0:
            raise LeaseLostError(f"check of {claim.artifact_sha256}, attempt {claim.attempt}")


_ENDED = (
    "owner_node = NULL, lease_until = NULL, "
    "finished_at = CASE WHEN :state = 'queued' THEN NULL ELSE now() END"
)

_WORKABLE = """
(k.state = 'queued' AND k.available_at <= now() OR k.state = 'running' AND k.lease_until < now())
"""

# Whoever claims beside this one takes another artifact: rows that are looked at are skipped, not waited for.
_CLAIM = text(f"""
WITH found AS (
    SELECT a.sha256, to_jsonb(a) AS artifact
    FROM artifact a
    LEFT JOIN runtime_check k ON k.artifact_sha256 = a.sha256 AND k.runtime_version = :version
    WHERE k.state IS NULL OR {_WORKABLE}
    ORDER BY a.created_at DESC LIMIT 1
    FOR NO KEY UPDATE OF a SKIP LOCKED
), taken AS (
    INSERT INTO runtime_check AS k
        (artifact_sha256, runtime_version, state, attempt, owner_node, lease_until)
    SELECT sha256, :version, 'running', 1, :node, now() + make_interval(secs => :lease) FROM found
    ON CONFLICT (artifact_sha256, runtime_version) DO UPDATE
    SET state = 'running', attempt = k.attempt + 1, losses = k.losses + (k.state = 'running')::int,
        owner_node = excluded.owner_node, lease_until = excluded.lease_until, started_at = now()
    WHERE {_WORKABLE}
    RETURNING k.*
)
SELECT taken.runtime_version, taken.attempt, taken.strikes, taken.losses, found.sha256, found.artifact
FROM taken JOIN found ON found.sha256 = taken.artifact_sha256
""")  # noqa: S608

_GIVE_BACK = text("""
UPDATE runtime_check SET lease_until = now() - interval '1 s' WHERE state = 'running' AND owner_node = :node
""")

_PENDING = text("""
SELECT count(DISTINCT a.sha256)
FROM benchmark b JOIN campaign c ON c.id = b.campaign_id JOIN artifact a ON a.id = b.artifact_id
LEFT JOIN runtime_check k ON k.artifact_sha256 = a.sha256 AND k.runtime_version = :version
WHERE c.name = :campaign
  AND (k.state IS NULL OR k.state = 'running' OR (k.state = 'queued' AND k.available_at <= now()))
""")
