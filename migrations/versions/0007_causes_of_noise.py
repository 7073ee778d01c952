"""Store what disturbed a measurement, and the cause of its noise"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

#: Columns of the view `measurement_run`: before, after.
COLUMNS = (
    ("x.reasons,", "x.reasons, x.noise_cause,"),
    (
        ", b.run, b.purpose, r.best",
        """, (x.disturbance->>'steal')::float8 AS steal,
       (x.disturbance->>'foreign_cores')::float8 AS foreign_cores, x.disturbance,
       b.run, b.purpose, r.best""",
    ),
)


def views() -> dict[str, str]:
    """Return the views of results as of this revision, in order of creation."""
    views = _views_before()
    for before, after in COLUMNS:
        views["measurement_run"] = views["measurement_run"].replace(before, after)
    return views


def upgrade() -> None:
    op.add_column("measurement", sa.Column("noise_cause", sa.Text(), nullable=True))
    op.add_column("measurement", sa.Column("disturbance", postgresql.JSONB(), nullable=True))
    op.execute("DROP VIEW latency")
    op.execute("DROP VIEW measurement_run")
    op.execute(views()["measurement_run"])
    op.execute(views()["latency"])


def downgrade() -> None:
    op.execute("DROP VIEW latency")
    op.execute("DROP VIEW measurement_run")
    op.drop_column("measurement", "disturbance")
    op.drop_column("measurement", "noise_cause")
    op.execute(_views_before()["measurement_run"])
    op.execute(_views_before()["latency"])


def _views_before() -> dict[str, str]:
    return dict(context.script.get_revision("0006").module.views())
