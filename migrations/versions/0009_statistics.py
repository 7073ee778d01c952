"""Store the interval of a median, the shape of a run and the mode of a campaign"""

import sqlalchemy as sa
from alembic import op

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0009"
down_revision = "0008"

COLUMNS = {"median_low_ns": sa.BigInteger(), "median_high_ns": sa.BigInteger(), "shape": sa.Text()}
#: Columns of the view `measurement_run`, which `latency` selects from: before, after.
RUN_COLUMNS = (
    ("x.median_ns,", "x.median_ns, x.median_low_ns, x.median_high_ns,"),
    ("x.reasons,", "x.reasons, x.shape,"),
    ("x.backend, x.verdict", "x.backend, c.mode, x.verdict"),
)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(down_revision), *RUN_COLUMNS)


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    op.add_column("campaign", sa.Column("mode", sa.Text(), server_default="standard", nullable=False))
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(down_revision))
    op.drop_column("campaign", "mode")
    drop_columns("measurement", COLUMNS)
