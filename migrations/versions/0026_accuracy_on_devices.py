"""Store the accuracy of artifacts on devices, and where its samples are; show it with results"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import changed, replace_views, result_views

revision = "0026"
down_revision = "0025"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0022"

#: Of the view `measurement_run`, which `latency` selects from: before, after.
COLUMNS = (
    "e.reason AS evaluation_reason,",
    """e.reason AS evaluation_reason, g.top1 AS device_top1, g.top5 AS device_top5,
       g.no_worse AS device_no_worse, g.samples AS device_samples, g.reason AS device_evaluation_reason,""",
)
SOURCE = (
    "AND e.data = c.request #>> '{evaluation,path}'\n",
    """AND e.data = c.request #>> '{evaluation,path}'
LEFT JOIN device_evaluation g ON g.artifact_id = a.id AND g.data = c.request #>> '{evaluation,path}'
    AND g.device_id = x.device_id AND g.backend = x.backend
""",
)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), COLUMNS, SOURCE)


def upgrade() -> None:
    op.add_column("evaluation", sa.Column("inputs", sa.Text(), nullable=True))
    op.create_table(
        "device_evaluation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("artifact_id", postgresql.UUID(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("device_id", postgresql.UUID(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.Float(), nullable=True) for name in ("top1", "top5", "no_worse")),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name="pk_device_evaluation"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name="fk_device_evaluation_artifact_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name="fk_device_evaluation_device_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint(
            "artifact_id", "data", "device_id", "backend",
            name="uq_device_evaluation_artifact_id_data_device_id_backend",
        ),
    )  # fmt: skip
    op.create_index("ix_device_evaluation_device_id", "device_evaluation", ["device_id"])
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(VIEWS_OF))
    op.drop_table("device_evaluation")
    op.drop_column("evaluation", "inputs")
