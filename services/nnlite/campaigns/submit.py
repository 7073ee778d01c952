"""Submits campaigns: one transaction that writes all rows, then one message per model.

Submitting twice creates nothing twice: ids derive from natural keys. If only the
broker is down, the rows are committed and the reaper sends their messages later.
"""

import shlex
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extras import Json, execute_values
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from nnlite.artifacts.store import open_store
from nnlite.campaigns.checks import check_request
from nnlite.campaigns.request import Request, RequestConflict, check_same
from nnlite.campaigns.thread_counts import check_threads
from nnlite.catalog.model import CatalogModel, ModelSource
from nnlite.db.engine import first_line, storable, where
from nnlite.db.rows import row_id, to_row
from nnlite.db.schema import DatabaseError
from nnlite.queue.app import CONVERT_QUEUE
from nnlite.queue.messages import BrokerClient, Message
from nnlite.settings import Settings
from nnlite.vocabulary import CampaignState, WorkKind, WorkState
from nnlite.worker.attempt import send

_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Result of a submission."""

    id: uuid.UUID
    name: str
    #: Whether the campaign existed.
    resumed: bool
    models: int
    skipped: int
    #: Whether the broker accepted the messages; if not, work starts when it is back.
    sent: bool


def submit(
    engine: Engine,
    broker: BrokerClient,
    request: Request,
    *,
    models: Sequence[CatalogModel],
    source: ModelSource,
    settings: Settings,
    name: str | None = None,
    priority: int,
    growing: bool = False,
) -> Submitted:
    """Write `request` as a campaign of `models` and send its messages.

    Args:
        growing: the campaign may start empty; an existing one gets the models that it lacks.

    Raises:
        RequestError: as `check_request`; the name belongs to another request, or no device has the threads.
        SamplesError: as `check_request`.
        DatabaseError: Postgres cannot be reached; nothing was submitted.
        StoreError: the models' files cannot be stored; nothing was submitted.
    """
    name = check_request(request, models, name=name, priority=priority, settings=settings, growing=growing)
    store_files(models, source, settings)
    try:
        with engine.begin() as connection:
            check_threads(connection, request, settings)
            campaign, resumed = _write_campaign(
                connection, name, request, priority=priority, settings=settings
            )
            written = Written()
            if growing or not resumed:
                written = write_rows(connection, campaign, priority, models, source)
            skipped = connection.scalar(_SKIPPED, {"id": campaign}) or 0
    except OperationalError as error:
        reason = f"Postgres at {where(engine)} cannot be reached: {first_line(error)}"
        raise DatabaseError(f"nothing was submitted: {reason}") from error
    return Submitted(
        id=campaign,
        name=name,
        resumed=resumed,
        models=len(models),
        skipped=skipped,
        sent=send(broker, written.messages),
    )


def store_files(models: Sequence[CatalogModel], source: ModelSource, settings: Settings) -> None:
    """Store the models' files under their hashes, before any row refers to them."""
    by_hash = {model.weights: model for model in models if model.weights_suffix and model.skipped is None}
    if not by_hash:
        return
    store = open_store(settings)
    for model in by_hash.values():
        store.put(source.weights_file(model), str(model.weights_suffix))


_SKIPPED = text("SELECT count(*) FROM conversion WHERE campaign_id = :id AND state = 'skipped'")


def _write_campaign(
    connection: Connection, name: str, request: Request, *, priority: int, settings: Settings
) -> tuple[uuid.UUID, bool]:
    """Return the id of the campaign, which is written if it is new, and whether it was there.

    Raises:
        RequestConflict: it was there with another request, or is cancelled.
    """
    in_force = settings.model_dump(mode="json", include={"catalog", "conversion", "measurement", "queue"})
    columns = {
        "name": name,
        "state": CampaignState.ACTIVE,
        "priority": priority,
        "request": Json(request.as_dict()),
        "precisions": list(request.precisions),
        "pools": list(request.pools),
        "backends": list(request.backends),
        "mode": request.mode,
        "settings": Json(in_force),
        "submitted_by": storable(settings.submitter),
    }
    number = 0
    while True:
        number += 1
        # A campaign keeps its id when it is renamed; another one may then get its first name.
        new = row_id("campaign", name, *([number] if number > 1 else []))
        if connection.execute(_INSERT_CAMPAIGN, columns | {"id": new}).rowcount:
            return new, False
        if (stored := connection.execute(_SAME_NAME, {"name": name}).one_or_none()) is not None:
            check_same(name, request, stored.request)
            if stored.state == CampaignState.CANCELLED:
                raise RequestConflict(
                    f"campaign {name!r} is cancelled; `nnlite retry {shlex.quote(name)} --cancelled` queues "
                    "its work again; choose another --name for a new campaign"
                )
            return stored.id, True


_INSERT_CAMPAIGN = text("""
INSERT INTO campaign
    (id, name, state, priority, request, precisions, pools, backends, mode, settings, submitted_by)
VALUES
    (:id, :name, :state, :priority, :request, :precisions, :pools, :backends, :mode, :settings, :submitted_by)
ON CONFLICT DO NOTHING
""")
_SAME_NAME = text("SELECT id, state, request FROM campaign WHERE name = :name")


@dataclass(frozen=True, kw_only=True)
class Written:
    """Models that are new to a campaign."""

    added: list[CatalogModel] = field(default_factory=list)
    #: Messages of those that will be converted.
    messages: list[Message] = field(default_factory=list)


def write_rows(
    connection: Connection,
    campaign: uuid.UUID,
    priority: int,
    models: Sequence[CatalogModel],
    source: ModelSource,
) -> Written:
    """Insert code, models and conversions; existing ones stay, except skipped ones that no longer are."""
    cursor = connection.connection.cursor()
    hashes = {each for model in models for each in (model.code_sha256, model.transform_sha256) if each}
    # Reading a source, such as an archive of 100,000 files, takes longer than asking for what is there.
    known = set(connection.scalars(_KNOWN_CODES, {"hashes": list(hashes)}))
    codes: dict[str, str] = {}
    for model in models:
        if (sha256 := model.code_sha256) and sha256 not in known and sha256 not in codes:
            codes[sha256] = source.code(model)
        if (sha256 := model.transform_sha256) and sha256 not in known and sha256 not in codes:
            codes[sha256] = source.transform_code(model) or ""
    # Postgres's text cannot contain NUL, and neither can Python code.
    rows = [(sha256, code.replace("\0", "\ufffd")) for sha256, code in codes.items()]
    execute_values(
        cursor, "INSERT INTO code (sha256, text) VALUES %s ON CONFLICT DO NOTHING", rows, page_size=_PAGE
    )
    ids = [row_id("model", model.source, model.name, model.identity) for model in models]
    model_rows = {
        identifier: _model_row(identifier, model) for identifier, model in zip(ids, models, strict=True)
    }
    if model_rows:
        columns = list(next(iter(model_rows.values())))
        execute_values(
            cursor,
            f"INSERT INTO model ({', '.join(columns)}) VALUES %s {_WITH_ACCURACY}",  # noqa: S608
            list(model_rows.values()),
            template=f"({', '.join(f'%({column})s' for column in columns)})",
            page_size=_PAGE,
        )
    conversions = {
        row_id("conversion", campaign, identifier): (identifier, model)
        for identifier, model in zip(ids, models, strict=True)
    }
    inserted = execute_values(
        cursor,
        _INSERT_CONVERSIONS,
        [
            (str(row), str(campaign), str(identifier), model.identity, priority, *_start(model))
            for row, (identifier, model) in conversions.items()
        ],
        template="(%s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)",
        page_size=_PAGE,
        fetch=True,
    )
    new = {row: conversions[row][1] for row in (uuid.UUID(str(row)) for (row,) in inserted)}
    return Written(
        added=list(new.values()),
        messages=[
            Message(
                kind=WorkKind.CONVERSION,
                row_id=row,
                display_args=(model.name,),
                queue=CONVERT_QUEUE,
                priority=priority,
            )
            for row, model in new.items()
            if model.skipped is None
        ],
    )


_KNOWN_CODES = text("SELECT sha256 FROM code WHERE sha256 = ANY(:hashes) FOR KEY SHARE")
# A model may be stored before it is evaluated, and trained further later.
_WITH_ACCURACY = """
ON CONFLICT (id) DO UPDATE SET accuracy = EXCLUDED.accuracy
WHERE model.accuracy IS DISTINCT FROM EXCLUDED.accuracy AND EXCLUDED.accuracy IS NOT NULL
"""
# One that a worker skipped stays skipped: the next attempt would end the same.
_INSERT_CONVERSIONS = """
INSERT INTO conversion (id, campaign_id, model_id, identity, priority, state, reason, finished_at) VALUES %s
ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, reason = NULL, finished_at = NULL
WHERE conversion.state = 'skipped' AND conversion.attempt = 0 AND EXCLUDED.state = 'queued'
RETURNING id
"""


def _start(model: CatalogModel) -> tuple[str, str | None, bool]:
    if model.skipped is None:
        return WorkState.QUEUED.value, None, False
    return WorkState.SKIPPED.value, model.skipped, True


def _model_row(identifier: uuid.UUID, model: CatalogModel) -> dict[str, Any]:
    row = to_row(model)
    del row["skipped"]  # a property of the conversion, not of the model
    row["inputs"] = {"tensors": row["inputs"]} if model.inputs else None
    columns = {name: Json(value) if isinstance(value, dict) else value for name, value in row.items()}
    return columns | {"id": str(identifier), "identity": model.identity}
