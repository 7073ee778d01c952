"""Store the interval of a median, the shape of a run and the mode of a campaign"""

import sqlalchemy as sa
from alembic import context, op

revision = "0009"
down_revision = "0008"

COLUMNS = {"median_low_ns": sa.BigInteger(), "median_high_ns": sa.BigInteger(), "shape": sa.Text()}
#: Columns of the view `measurement_run`, which `latency` selects from: before, after.
RUN_COLUMNS = (
    ("x.median_ns,", "x.median_ns, x.median_low_ns, x.median_high_ns,"),
    ("x.reasons,", "x.reasons, x.shape,"),
    ("x.backend, x.verdict", "x.backend, c.mode, x.verdict"),
)
VIEWS = ("measurement_run", "latency")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    views = _views_before()
    for before, after in RUN_COLUMNS:
        views["measurement_run"] = views["measurement_run"].replace(before, after)
    return views


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("measurement", sa.Column(name, kind, nullable=True))
    op.add_column("campaign", sa.Column("mode", sa.Text(), server_default="standard", nullable=False))
    _replace_views(views())


def downgrade() -> None:
    _replace_views({})
    op.drop_column("campaign", "mode")
    for name in COLUMNS:
        op.drop_column("measurement", name)
    for name in VIEWS:
        op.execute(_views_before()[name])


def _replace_views(statements: dict[str, str]) -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    for statement in statements.values():
        op.execute(statement)


def _views_before() -> dict[str, str]:
    views = context.script.get_revision(down_revision).module.views()
    return {name: views[name] for name in VIEWS}
