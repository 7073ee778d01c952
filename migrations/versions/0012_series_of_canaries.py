"""Keep the series of canaries of a device, and its lasting changes"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

DEVICE_CANARY_CHANGE = """
CREATE VIEW device_canary_change AS
SELECT d.name AS device, d.pool, h.configuration, h.before_ns, h.after_ns,
       h.after_ns::float8 / h.before_ns AS ratio, h.since, h.created_at, h.reopened, h.device_id,
       h.id AS change_id
FROM canary_change h JOIN device d ON d.id = h.device_id
"""
_MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "device_canary",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("ns", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_device_canary_device_id_device")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_canary")),
    )
    op.create_index(
        op.f("ix_device_canary_device_id_configuration_id"),
        "device_canary",
        ["device_id", "configuration", "id"],
    )
    op.create_table(
        "canary_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("canary_id", sa.BigInteger(), nullable=False),
        sa.Column("before_ns", sa.BigInteger(), nullable=False),
        sa.Column("after_ns", sa.BigInteger(), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("reopened", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_canary_change_device_id_device")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canary_change")),
    )
    op.create_index(
        op.f("ix_canary_change_device_id_configuration_canary_id"),
        "canary_change",
        ["device_id", "configuration", "canary_id"],
    )
    op.execute(DEVICE_CANARY_CHANGE)


def downgrade() -> None:
    op.execute("DROP VIEW device_canary_change")
    op.drop_table("canary_change")
    op.drop_table("device_canary")
