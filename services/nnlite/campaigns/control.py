"""Pauses, resumes, cancels, retries, renames and deletes campaigns, by changing rows that workers check.

Nothing is revoked in Celery. A paused or cancelled campaign's rows cannot be
claimed, and the worker of a cancelled row loses its lease at the next heartbeat.
"""

import shlex
import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.exc import IntegrityError

from nnlite.artifacts.store import ArtifactStore
from nnlite.campaigns.request import check_name
from nnlite.errors import did_you_mean
from nnlite.queue import leases, statements
from nnlite.queue.messages import BrokerClient, Message
from nnlite.results import repeats
from nnlite.results.reading import CampaignError, campaign_names, unknown_campaign
from nnlite.vocabulary import CAMPAIGN_KINDS, CampaignState, WorkKind, WorkState
from nnlite.worker.attempt import send


def find(connection: Connection, name: str, *, lock: bool = False) -> tuple[uuid.UUID, CampaignState]:
    """Return id and state of the campaign `name`.

    Args:
        lock: let no other transaction change it or add work to it until this one has ended.

    Raises:
        CampaignError: there is none; the message lists the newest ones.
    """
    locking = "FOR UPDATE" if lock else ""
    row = connection.execute(
        text(f"SELECT id, state FROM campaign WHERE name = :name {locking}"),  # noqa: S608
        {"name": name},
    ).first()
    if row is None:
        raise unknown_campaign(name, campaign_names(connection))
    return row.id, CampaignState(row.state)


def pause(engine: Engine, name: str) -> int:
    """Let running work end and claim nothing more; return how many rows are left to do.

    Raises:
        CampaignError: no such campaign, or it is cancelled.
    """
    with engine.begin() as connection:
        campaign = _set_state(connection, name, CampaignState.PAUSED)
        return _left(connection, campaign)


def resume(engine: Engine, broker: BrokerClient, name: str) -> bool:
    """Let work be claimed again; return whether the broker took the messages.

    Raises:
        CampaignError: no such campaign, or it is cancelled.
    """
    with engine.begin() as connection:
        campaign = _set_state(connection, name, CampaignState.ACTIVE)
        # Messages delivered while it was paused could not claim their rows and are gone.
        messages = [
            message
            for kind in CAMPAIGN_KINDS
            for message in leases.build_messages(connection, kind, _queued(connection, kind, campaign))
        ]
    return send(broker, messages)


def cancel(engine: Engine, name: str) -> int:
    """End every queued and running row as cancelled and return how many they were.

    Raises:
        CampaignError: no such campaign.
    """
    with engine.begin() as connection:
        campaign, _ = find(connection, name)
        connection.execute(
            text("UPDATE campaign SET state = 'cancelled' WHERE id = :campaign"), {"campaign": campaign}
        )
        return sum(
            connection.execute(_cancelling(kind, "campaign_id = :id"), {"id": campaign}).rowcount
            for kind in CAMPAIGN_KINDS
        )


def rename(engine: Engine, name: str, new: str) -> None:
    """Give a campaign another name; its rows and results stay as they are.

    Raises:
        CampaignError: no such campaign, or the new name is another one's.
        RequestError: the new name is no name.
    """
    check_name(new)
    with engine.begin() as connection:
        campaign, _ = find(connection, name)
        try:
            connection.execute(
                text("UPDATE campaign SET name = :new WHERE id = :campaign"),
                {"campaign": campaign, "new": new},
            )
        except IntegrityError as error:
            raise CampaignError(f"there is a campaign {new!r} already; choose another name") from error


def delete(engine: Engine, store: ArtifactStore, name: str) -> None:
    """Delete a campaign that has ended, with all its rows and reports; artifacts stay for other campaigns.

    Raises:
        CampaignError: no such campaign, or work of it is queued or running.
        StoreError: its reports cannot be deleted; its rows are.
    """
    with engine.begin() as connection:
        campaign, _ = find(connection, name, lock=True)
        if pending := _left(connection, campaign):
            raise CampaignError(
                f"campaign {name!r} has not ended, conversions or benchmarks queued or running: {pending:,}; "
                f"`nnlite cancel {shlex.quote(name)}` ends them, then delete it"
            )
        benchmarks = connection.scalars(
            text("SELECT id FROM benchmark WHERE campaign_id = :id"), {"id": campaign}
        ).all()
        connection.execute(text("DELETE FROM campaign WHERE id = :id"), {"id": campaign})
    store.discard_reports(benchmarks)


def cancel_benchmark(engine: Engine, benchmark: uuid.UUID) -> None:
    """End one row as cancelled if it is queued or running."""
    with engine.begin() as connection:
        connection.execute(_cancelling(WorkKind.BENCHMARK, "id = :id"), {"id": benchmark})


def retry(
    engine: Engine, broker: BrokerClient, name: str, states: Sequence[WorkState], models: Sequence[str] = ()
) -> int:
    """Queue ended rows of `states` again with their counters at zero; return how many they were.

    History stays: attempts are numbered on.

    Args:
        states: of `failed`, `quarantined`, `cancelled`.
        models: only these models; empty: all.

    Raises:
        CampaignError: no such campaign or model, or it is cancelled and `states` has not `cancelled`.
    """
    messages: list[Message] = []
    with engine.begin() as connection:
        campaign, state = find(connection, name)
        if state is CampaignState.CANCELLED and WorkState.CANCELLED not in states:
            raise CampaignError(_cancelled(name))
        _check_models(connection, campaign, name, models)
        connection.execute(
            text("UPDATE campaign SET state = 'active' WHERE id = :campaign AND state = 'cancelled'"),
            {"campaign": campaign},
        )
        parameters = {
            "campaign": campaign,
            "states": [state.value for state in states],
            "models": list(models),
            "any_model": not models,
        }
        for kind in CAMPAIGN_KINDS:
            rows = connection.scalars(text(_RETRY[kind]), parameters).all()
            messages += leases.build_messages(connection, kind, rows)
    send(broker, messages)
    return len(messages)


def retry_noisy(engine: Engine, broker: BrokerClient, name: str) -> int:
    """Measure every artifact again whose best result is noisy or throttled; return how many these are.

    The results so far stay.

    Raises:
        CampaignError: no such campaign, or it is cancelled.
    """
    with engine.begin() as connection:
        campaign, state = find(connection, name)
        if state is CampaignState.CANCELLED:
            raise CampaignError(_cancelled(name))
        rows = repeats.retry_noisy(connection, campaign)
        messages = leases.build_messages(connection, WorkKind.BENCHMARK, rows)
    send(broker, messages)
    return len(messages)


def _check_models(connection: Connection, campaign: uuid.UUID, name: str, models: Sequence[str]) -> None:
    known = list(connection.scalars(_MODELS, {"campaign": campaign})) if models else []
    for model in models:
        if model not in known:
            raise CampaignError(f"campaign {name!r} has no model {model!r}{did_you_mean(model, known)}")


def _cancelling(kind: WorkKind, rows: str) -> TextClause:
    return text(_CANCEL.format(kind=kind, cleared=statements.cleared(kind), rows=rows))


def _cancelled(name: str) -> str:
    again = f"`nnlite retry {shlex.quote(name)} --cancelled` queues its work again"
    return f"campaign {name!r} is cancelled; {again}"


def _set_state(connection: Connection, name: str, state: CampaignState) -> uuid.UUID:
    campaign, current = find(connection, name)
    if current is CampaignState.CANCELLED:
        raise CampaignError(_cancelled(name))
    connection.execute(
        text("UPDATE campaign SET state = :state WHERE id = :campaign"),
        {"state": state, "campaign": campaign},
    )
    return campaign


def _left(connection: Connection, campaign: uuid.UUID) -> int:
    """Return how many rows of a campaign are queued or running."""
    counts = "SELECT count(*) FROM {} WHERE campaign_id = :id AND state IN ('queued', 'running')"
    return sum(connection.scalar(text(counts.format(kind)), {"id": campaign}) or 0 for kind in CAMPAIGN_KINDS)


def _queued(connection: Connection, kind: WorkKind, campaign: uuid.UUID) -> Sequence[uuid.UUID]:
    statement = f"SELECT id FROM {kind} WHERE campaign_id = :campaign AND state = 'queued'"  # noqa: S608
    return connection.scalars(text(statement), {"campaign": campaign}).all()


_MODELS = text("""
SELECT m.name FROM conversion v JOIN model m ON m.id = v.model_id WHERE v.campaign_id = :campaign
""")

_CANCEL = """
WITH ended AS (
    UPDATE {kind} SET state = 'cancelled', finished_at = now(), lease_until = NULL, deadline = NULL,
        owner_node = NULL, owner_instance = NULL, {cleared}reason = 'cancelled by the user'
    WHERE {rows} AND state IN ('queued', 'running')
    RETURNING id, attempt
), noted AS (
    UPDATE attempt SET ended_at = now(), outcome = 'cancelled', reason = 'cancelled by the user'
    FROM ended
    WHERE attempt.work_id = ended.id AND attempt.number = ended.attempt AND attempt.ended_at IS NULL
)
SELECT id FROM ended
"""

_AGAIN = """
UPDATE {kind} w SET state = 'queued', strikes = 0, losses = 0, available_at = now(), finished_at = NULL,
    failure_class = NULL, reason = NULL, stage = NULL
FROM {source}
WHERE w.campaign_id = :campaign AND w.state = ANY(:states) AND {join}
  AND (:any_model OR m.name = ANY(:models))
RETURNING w.id
"""
_RETRY = {
    WorkKind.CONVERSION: _AGAIN.format(kind="conversion", source="model m", join="m.id = w.model_id"),
    WorkKind.BENCHMARK: _AGAIN.format(
        kind="benchmark",
        source="conversion v JOIN model m ON m.id = v.model_id",
        # Nobody waits any more for a reproduction that has ended.
        join="v.id = w.conversion_id AND w.purpose <> 'reproduce'",
    ),
}
