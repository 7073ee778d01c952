"""Device faults: recovery steps (`rung`), incidents, canary and measured backend

Until now only hosts were measured on, and what went wrong was recorded as
text alone: that text becomes the reason, and the kind of the fault is parsed from it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

DEVICE_OVERVIEW = """
CREATE VIEW device_overview AS
SELECT d.name AS device, d.pool, d.kind, d.state, d.state_since, d.rung, d.reason, d.owner_node, d.seen_at,
       d.context->>'device_type' AS device_type, d.context->>'os_version' AS os_version,
       (d.context->>'api_level')::int AS api_level, d.canary_ns, d.canary_at,
       i.fault AS last_fault, i.reason AS last_fault_reason, i.rungs AS last_rungs,
       i.created_at AS last_incident_at, i.healed AS last_healed,
       CASE WHEN i.healed THEN i.duration_ns END AS last_healed_after_ns,
       n.incidents, n.open_incidents, d.id AS device_id
FROM device d
LEFT JOIN LATERAL (
    SELECT * FROM incident WHERE device_id = d.id ORDER BY created_at DESC, id DESC LIMIT 1
) i ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS incidents, count(*) FILTER (WHERE NOT healed) AS open_incidents
    FROM incident WHERE device_id = d.id
) n
"""

DEVICE_INCIDENT = """
CREATE VIEW device_incident AS
SELECT d.name AS device, d.pool, i.fault, i.reason, i.rungs, i.healed, i.created_at, i.healed_at,
       CASE WHEN i.healed THEN i.duration_ns END AS healed_after_ns, c.name AS campaign, m.name AS model,
       a.precision, i.benchmark_id, i.device_id, i.id AS incident_id
FROM incident i
JOIN device d ON d.id = i.device_id
LEFT JOIN benchmark b ON b.id = i.benchmark_id
LEFT JOIN campaign c ON c.id = b.campaign_id
LEFT JOIN artifact a ON a.id = b.artifact_id
LEFT JOIN conversion v ON v.id = b.conversion_id
LEFT JOIN model m ON m.id = v.model_id
"""
VIEWS = {"device_overview": DEVICE_OVERVIEW, "device_incident": DEVICE_INCIDENT}

# The device was ready again before it failed the next time: an older open one was over then at the latest.
CLOSE_OLDER = """
UPDATE incident i SET healed = true, healed_at = later.created_at,
    duration_ns = extract(epoch FROM later.created_at - i.created_at) * 1000000000
FROM (
    SELECT id, lead(created_at) OVER (PARTITION BY device_id ORDER BY created_at, id) AS created_at
    FROM incident
) later
WHERE later.id = i.id AND later.created_at IS NOT NULL AND NOT i.healed
"""

NAME_FAULTS = """
UPDATE incident SET reason = fault,
    fault = CASE WHEN fault LIKE '%computes the canary wrongly%' THEN 'wrong_canary' ELSE 'process_died' END,
    healed_at = CASE WHEN healed THEN created_at + make_interval(secs => duration_ns / 1e9) END
"""


def upgrade() -> None:
    moment = postgresql.TIMESTAMP(timezone=True)
    op.add_column("benchmark", sa.Column("backend", sa.Text(), nullable=True))
    op.alter_column("device", "context", nullable=True)
    op.add_column("device", sa.Column("rung", sa.Text(), nullable=True))
    op.add_column("device", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("device", sa.Column("canary_ns", sa.BigInteger(), nullable=True))
    op.add_column("device", sa.Column("canary_at", moment, nullable=True))
    op.add_column("device", sa.Column("state_since", moment, server_default=sa.text("now()"), nullable=False))
    op.execute("UPDATE device SET state_since = seen_at")
    op.add_column("incident", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("incident", sa.Column("healed_at", moment, nullable=True))
    op.execute(NAME_FAULTS)
    op.execute(CLOSE_OLDER)
    op.alter_column("incident", "reason", nullable=False)
    op.create_index(
        "uq_incident_open",
        "incident",
        ["device_id"],
        unique=True,
        postgresql_where=sa.text("NOT healed"),
    )
    op.create_index(
        op.f("ix_incident_device_id_created_at"), "incident", ["device_id", "created_at"], unique=False
    )
    for statement in VIEWS.values():
        op.execute(statement)


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_index(op.f("ix_incident_device_id_created_at"), table_name="incident")
    op.drop_index("uq_incident_open", table_name="incident", postgresql_where=sa.text("NOT healed"))
    op.execute("UPDATE incident SET fault = reason")
    op.drop_column("incident", "healed_at")
    op.drop_column("incident", "reason")
    op.execute("UPDATE device SET context = '{}' WHERE context IS NULL")
    op.alter_column("device", "context", nullable=False)
    for name in ("state_since", "canary_at", "canary_ns", "reason", "rung"):
        op.drop_column("device", name)
    op.drop_column("benchmark", "backend")
