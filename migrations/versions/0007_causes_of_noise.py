"""Store what disturbed a measurement, and the cause of its noise"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import changed, replace_views, result_views

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
    return changed(result_views(down_revision), *COLUMNS)


def upgrade() -> None:
    op.add_column("measurement", sa.Column("noise_cause", sa.Text(), nullable=True))
    op.add_column("measurement", sa.Column("disturbance", postgresql.JSONB(), nullable=True))
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(down_revision))
    op.drop_column("measurement", "disturbance")
    op.drop_column("measurement", "noise_cause")
