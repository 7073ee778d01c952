"""Reads and writes devices: state, recovery step, canary, incidents.

Each function is one short transaction: a device fails and recovers independently
of the work. Only a user can end a quarantine.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from nnlite.db.engine import storable
from nnlite.db.rows import row_id
from nnlite.errors import NnliteError
from nnlite.reports.schema import DeviceContext
from nnlite.results.reading import check_device, rows_of
from nnlite.vocabulary import DeviceKind, DeviceStatus, Fault

#: An incident's reason gets a line for each further fault, up to about this many characters.
_LONGEST_REASON = 20_000


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """State of a device, as last written."""

    id: uuid.UUID
    name: str
    state: DeviceStatus
    #: Recovery step that is running, or the last one that was run; None: healthy.
    recovery_step: str | None
    #: Reason of the state.
    reason: str | None
    owner_node: str | None
    #: As `FastSpeeds.to_json` returned them; None: nothing is known yet.
    fast_speeds: dict[str, Any] | None = None


def record_ready(
    engine: Engine, device: DeviceContext, owner_node: str | None, canary_ns: int | None = None
) -> uuid.UUID:
    """Write that a device is ready, and return its id; its open incident is closed in the same transaction.

    Args:
        canary_ns: duration of its last correct canary; None: the one that is stored stays.
    """
    with engine.begin() as connection:
        identifier = _record(
            connection,
            name=device.name,
            kind=device.kind,
            pool=device.pool,
            state=DeviceStatus.READY,
            owner=owner_node,
            context=device.model_dump(mode="json"),
        )
        connection.execute(_HEALED, {"device": identifier})
        if canary_ns is not None:
            connection.execute(_CANARY, {"id": identifier, "ns": canary_ns})
    return identifier


def cpu_configuration(runtime: str, threads: int, cores: Sequence[int]) -> str:
    """Return what the speed of a canary depends on besides its device, as one text.

    Args:
        cores: that it may run on; empty: any.
    """
    return f"{runtime}, threads {threads}, cores {','.join(map(str, cores)) or 'any'}"


def record_device_state(
    engine: Engine,
    name: str,
    kind: DeviceKind,
    pool: str,
    status: DeviceStatus,
    *,
    owner_node: str | None,
    reason: str | None = None,
    recovery_step: str | None = None,
) -> uuid.UUID:
    """Write a device's state and return its id; its known properties are kept.

    A device in quarantine stays quarantined, with its reason and its recovery step, whatever `status` is:
    only `release_device` ends a quarantine.

    Args:
        owner_node: the worker that owns it; None: no worker.
        reason: of the state; None: removes an older reason.
        recovery_step: that is running; None: unchanged, but a ready device has none.
    """
    with engine.begin() as connection:
        return _record(
            connection,
            name=name,
            kind=kind,
            pool=pool,
            state=status,
            owner=owner_node,
            reason=reason,
            recovery_step=recovery_step,
        )


def device_row(engine: Engine, name: str) -> DeviceRow | None:
    """Return the row of the device `name`, or None."""
    with engine.connect() as connection:
        row = connection.execute(_ROW, {"name": name}).mappings().one_or_none()
    return None if row is None else DeviceRow(**(dict(row) | {"state": DeviceStatus(row["state"])}))


def record_fast_speeds(connection: Connection, name: str, fast_speeds: Mapping[str, Any]) -> None:
    """Write the fast speeds of the device `name`, in the transaction of the run that taught them."""
    connection.execute(_SPEEDS, {"name": name, "speeds": fast_speeds})


def release_device(engine: Engine, name: str) -> None:
    """End the quarantine of `name`: its state becomes starting, and recovery starts with the first step.

    Raises:
        NnliteError: there is no such device, or it is not quarantined.
    """
    with engine.begin() as connection:
        if connection.execute(_RELEASE, {"name": name}).rowcount:
            return
    check_device(engine, name)
    (row,) = rows_of(engine, "SELECT state FROM device WHERE name = :name", {"name": name})
    raise NnliteError(f"device {name!r} is {row['state']}, not in quarantine: there is nothing to release")


def open_incident(
    engine: Engine,
    device_id: uuid.UUID,
    fault: Fault,
    reason: str,
    benchmark_id: uuid.UUID | None = None,
    *,
    age_s: float = 0.0,
) -> int:
    """Write a fault of a device, and return the id of its open incident.

    A device has one open incident at a time. A fault while one is open is a consequence of the first: it
    appends the line `FAULT: REASON` to that incident's reason (unless it is the last line already); `fault`
    stays the first fault, and `benchmark_id` the first affected benchmark.

    Args:
        age_s: how long ago it happened; Postgres may have been unavailable.
    """
    with engine.begin() as connection:
        number: int = connection.execute(
            _OPEN,
            {
                "device": device_id,
                "benchmark": benchmark_id,
                "fault": fault.value,
                "reason": storable(reason),
                "line": storable(f"\n{fault}: {reason}"),
                "longest": _LONGEST_REASON,
                "age": age_s,
            },
        ).scalar_one()
    return number


def add_recovery_step(engine: Engine, device_id: uuid.UUID, recovery_step: str) -> None:
    """Write that a recovery step is run, in the device's row and its open incident."""
    with engine.begin() as connection:
        connection.execute(_STEP, {"device": device_id, "recovery_step": recovery_step})


def _record(connection: Connection, *, name: str, **columns: Any) -> uuid.UUID:
    row = {"context": None, "reason": None, "recovery_step": None, "name": name, **columns}
    identifier = row_id("device", name)
    connection.execute(_UPSERT, storable(row) | {"id": identifier})
    return identifier


_UPSERT = text("""
INSERT INTO device (id, name, kind, pool, state, owner_node, context, reason, recovery_step)
VALUES (:id, :name, :kind, :pool, :state, :owner, :context, :reason, :recovery_step)
ON CONFLICT (name) DO UPDATE SET
    kind = excluded.kind, pool = excluded.pool, owner_node = excluded.owner_node,
    context = coalesce(excluded.context, device.context), seen_at = now(),
    state = CASE WHEN device.state = 'quarantined' THEN device.state ELSE excluded.state END,
    reason = CASE WHEN device.state = 'quarantined' THEN coalesce(device.reason, excluded.reason)
                  ELSE excluded.reason END,
    recovery_step = CASE WHEN device.state = 'quarantined' THEN device.recovery_step
                WHEN excluded.state = 'ready' THEN NULL
                ELSE coalesce(excluded.recovery_step, device.recovery_step) END,
    state_since = CASE WHEN device.state IN ('quarantined', excluded.state) THEN device.state_since
                       ELSE now() END
""").bindparams(bindparam("context", type_=JSONB(none_as_null=True)))

_ROW = text("""
SELECT id, name, state, recovery_step, reason, owner_node, fast_speeds FROM device WHERE name = :name
""")

_CANARY = text("UPDATE device SET canary_ns = :ns, canary_at = now(), seen_at = now() WHERE id = :id")

_SPEEDS = text("UPDATE device SET fast_speeds = :speeds WHERE name = :name").bindparams(
    bindparam("speeds", type_=JSONB)
)

_RELEASE = text("""
UPDATE device SET state = 'starting', state_since = now(), reason = NULL, recovery_step = NULL
WHERE name = :name AND state = 'quarantined'
""")

_OPEN = text("""
INSERT INTO incident (device_id, benchmark_id, fault, reason, recovery_steps, healed, duration_ns, created_at)
VALUES (:device, :benchmark, :fault, :reason, '{}', false, 0, now() - make_interval(secs => :age))
ON CONFLICT (device_id) WHERE NOT healed DO UPDATE SET
    benchmark_id = coalesce(incident.benchmark_id, excluded.benchmark_id),
    reason = CASE
        WHEN length(incident.reason) > :longest THEN incident.reason
        WHEN E'\\n' || incident.fault || ': ' || incident.reason = :line THEN incident.reason
        WHEN right(incident.reason, length(:line)) = :line THEN incident.reason
        ELSE incident.reason || :line
    END
RETURNING id
""")

_STEP = text("""
WITH step AS (
    UPDATE incident SET recovery_steps = array_append(recovery_steps, CAST(:recovery_step AS text))
    WHERE device_id = :device AND NOT healed
)
UPDATE device SET recovery_step = :recovery_step, seen_at = now() WHERE id = :device
""")

_HEALED = text("""
WITH healed AS (
    UPDATE incident
    SET healed = true, healed_at = now(),
        duration_ns = extract(epoch FROM now() - created_at) * 1000000000
    WHERE device_id = :device AND NOT healed
)
UPDATE device SET recovery_step = NULL WHERE id = :device AND state <> 'quarantined'
""")
