"""Rename states and columns to standard terms; lease runtime checks like all other work"""

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"

#: (table or view, column before, column after); views keep their column names when a table's column changes.
COLUMNS = (
    ("device", "rung", "recovery_step"),
    ("incident", "rungs", "recovery_steps"),
    ("model", "form", "model_format"),
    ("model", "entry", "entry_point"),
)
VIEW_COLUMNS = (
    ("device_overview", "rung", "recovery_step"),
    ("device_overview", "last_rungs", "last_recovery_steps"),
    ("device_incident", "rungs", "recovery_steps"),
)
#: (table, column, value before, value after)
VALUES = (
    ("conversion", "state", "left_out", "skipped"),
    ("benchmark", "state", "left_out", "skipped"),
    ("attempt", "outcome", "left_out", "skipped"),
    ("model", "model_format", "artifact", "prebuilt"),
    ("device", "recovery_step", "start the worker anew", "restart the worker"),
)


#: Name of the last recovery step in incidents: before, after.
LAST_STEP = ("start the worker anew", "restart the worker")


def upgrade() -> None:
    for table, before, after in COLUMNS:
        op.alter_column(table, before, new_column_name=after)
    for view, before, after in VIEW_COLUMNS:
        op.execute(f"ALTER VIEW {view} RENAME COLUMN {before} TO {after}")
    for table, column, before, after in VALUES:
        _replace(table, column, before, after)
    _replace_last_step(*LAST_STEP)
    for name, statement in _views_of_0003().items():
        op.execute(f"DROP VIEW {name}")
        op.execute(statement.replace("left_out", "skipped"))
    op.create_index("ix_attempt_ended_at", "attempt", ["ended_at"])
    # After the views: what `SELECT *` in a view has taken cannot be dropped again.
    _lease_runtime_checks()


def downgrade() -> None:
    _lease_runtime_checks_as_in_0003()
    op.drop_index("ix_attempt_ended_at", "attempt")
    for table, column, before, after in VALUES:
        _replace(table, column, after, before)
    _replace_last_step(*reversed(LAST_STEP))
    for view, before, after in VIEW_COLUMNS:
        op.execute(f"ALTER VIEW {view} RENAME COLUMN {after} TO {before}")
    for table, before, after in COLUMNS:
        op.alter_column(table, after, new_column_name=before)
    for name, statement in _views_of_0003().items():
        op.execute(f"DROP VIEW {name}")
        op.execute(statement)


def _lease_runtime_checks() -> None:
    """Give runtime checks the columns of work, and those that are running an attempt."""
    op.alter_column("attempt", "campaign_id", nullable=True)
    op.add_column(
        "runtime_check",
        sa.Column("id", sa.UUID(), server_default=sa.func.gen_random_uuid(), nullable=False),
    )
    op.add_column("runtime_check", sa.Column("owner_instance", sa.Text(), nullable=True))
    op.add_column("runtime_check", sa.Column("deadline", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("runtime_check", sa.Column("stage", sa.Text(), nullable=True))
    op.alter_column("runtime_check", "attempt", server_default="0")
    op.drop_constraint("pk_runtime_check", "runtime_check")
    op.create_primary_key("pk_runtime_check", "runtime_check", ["id"])
    op.create_unique_constraint(
        "uq_runtime_check_artifact_sha256_runtime_version",
        "runtime_check",
        ["artifact_sha256", "runtime_version"],
    )
    op.create_index(
        "ix_runtime_check_running",
        "runtime_check",
        ["lease_until"],
        postgresql_where=sa.text("state = 'running'"),
    )
    # The process of their owner is not known: they are queued again when their lease ends.
    op.execute("""
UPDATE runtime_check SET owner_instance = split_part(owner_node, '@', 2) || '//0/0/0' WHERE state = 'running'
""")
    op.execute("""
INSERT INTO attempt (kind, work_id, number, owner_node, owner_instance, started_at)
SELECT 'runtime_check', id, attempt, owner_node, owner_instance, started_at
FROM runtime_check WHERE state = 'running'
""")


def _lease_runtime_checks_as_in_0003() -> None:
    op.execute("DELETE FROM attempt WHERE campaign_id IS NULL")
    op.alter_column("attempt", "campaign_id", nullable=False)
    op.drop_index("ix_runtime_check_running", "runtime_check")
    op.drop_constraint("uq_runtime_check_artifact_sha256_runtime_version", "runtime_check")
    op.drop_constraint("pk_runtime_check", "runtime_check")
    op.create_primary_key("pk_runtime_check", "runtime_check", ["artifact_sha256", "runtime_version"])
    op.alter_column("runtime_check", "attempt", server_default=None)
    for column in ("stage", "deadline", "owner_instance", "id"):
        op.drop_column("runtime_check", column)


def _replace(table: str, column: str, before: str, after: str) -> None:
    rows = sa.table(table, sa.column(column))
    op.execute(rows.update().where(rows.c[column] == before).values({column: after}))


def _replace_last_step(before: str, after: str) -> None:
    rows = sa.table("incident", sa.column("recovery_steps", sa.ARRAY(sa.Text)))
    steps = rows.c.recovery_steps
    replaced = {"recovery_steps": sa.func.array_replace(steps, before, after)}
    op.execute(rows.update().where(sa.literal(before) == sa.any_(steps)).values(replaced))


def _views_of_0003() -> dict[str, str]:
    return dict(context.script.get_revision("0003").module.REPLACED)
