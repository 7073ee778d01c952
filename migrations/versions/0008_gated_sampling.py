"""Store which runs of a measurement counted, and a device's fast speed"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

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
VIEWS = ("measurement_run", "latency")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    views = _views_before()
    for before, after in RUN:
        views["measurement_run"] = views["measurement_run"].replace(before, after)
    return views


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("measurement", sa.Column(name, kind, nullable=True))
    op.add_column("device", sa.Column("fast_speeds", postgresql.JSONB(), nullable=True))
    _replace(views())


def downgrade() -> None:
    _replace(_views_before())
    op.drop_column("device", "fast_speeds")
    for name in COLUMNS:
        op.drop_column("measurement", name)


def _replace(views: dict[str, str]) -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    for name in VIEWS:
        op.execute(views[name])


def _views_before() -> dict[str, str]:
    views: dict[str, str] = context.script.get_revision(down_revision).module.views()
    return views
