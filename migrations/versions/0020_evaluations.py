"""Store the accuracy of artifacts on labelled samples; show it and how the CPU was measured with results"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import changed, replace_views, result_views

revision = "0020"
down_revision = "0019"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0017"

SHARES = ("top1", "top5", "torch_top1", "torch_top5", "no_worse")
#: Of the view `measurement_run`, which `latency` selects from: before, after.
COLUMNS = (
    "a.calibration->>'provenance' AS calibration,",
    f"""a.calibration->>'provenance' AS calibration, {", ".join(f"e.{name}" for name in SHARES)},
       e.samples AS evaluated_samples, e.name AS evaluation_data, e.seed AS evaluation_seed,
       e.reason AS evaluation_reason,""",
)
#: NN Lite measures without XNNPACK, and by a tool in a shell.
HOW = (
    "x.threads, c.mode,",
    """x.threads, x.backend = 'cpu' AS xnnpack,
       CASE d.kind WHEN 'host' THEN 'host' ELSE 'app' END AS process, c.mode,""",
)
SOURCE = (
    "JOIN artifact a ON a.id = b.artifact_id\n",
    """JOIN artifact a ON a.id = b.artifact_id
LEFT JOIN evaluation e ON e.artifact_id = a.id AND e.data = c.request #>> '{evaluation,path}'
""",
)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), COLUMNS, SOURCE, HOW)


def upgrade() -> None:
    op.create_table(
        "evaluation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("artifact_id", postgresql.UUID(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.Float(), nullable=True) for name in SHARES),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name="pk_evaluation"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name="fk_evaluation_artifact_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("artifact_id", "data", name="uq_evaluation_artifact_id_data"),
    )
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(VIEWS_OF))
    op.drop_table("evaluation")
