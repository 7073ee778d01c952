"""Store which runs of a measurement counted, and a device's fast speed"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0008"
down_revision = "0007"

COLUMNS = {
    "fast_ns": sa.BigInteger(),
    "counted_runs": sa.BigInteger(),
    "counted_share": sa.Float(),
    "all_median_ns": sa.BigInteger(),
    "all_min_ns": sa.BigInteger(),
    "canaries_ns": postgresql.ARRAY(sa.BigInteger()),
    "slice_runs": postgresql.ARRAY(sa.BigInteger()),
    "slice_first_ns": postgresql.ARRAY(sa.BigInteger()),
}
#: Columns of the view `measurement_run`: before, after.
RUN = (
    ("x.runs,", "x.runs, x.counted_runs, x.counted_share,"),
    ("x.max_ns,", "x.max_ns, x.all_median_ns, x.all_min_ns, x.fast_ns,"),
)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(down_revision), *RUN)


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    op.add_column("device", sa.Column("fast_speeds", postgresql.JSONB(), nullable=True))
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(down_revision))
    op.drop_column("device", "fast_speeds")
    drop_columns("measurement", COLUMNS)
