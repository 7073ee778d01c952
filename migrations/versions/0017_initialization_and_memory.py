"""Store initialization with a cache, cold and warm, and memory by stage; withhold what tells a latency"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0015"

COLUMNS = ("init_cold_ns", "init_warm_ns")
#: Of the view `measurement_run`, which `latency` selects from: before, after.
FIRST = "x.first_ns,"
WITHHELD_FIRST = """x.init_cold_ns, x.init_warm_ns,
       CASE WHEN x.median_ns IS NOT NULL THEN x.first_ns END AS first_ns,"""
BASELINE = "x.baseline_rss_kb,"
BY_STAGE = ", ".join(
    f"(x.memory#>>'{{{stage},{part}}}')::bigint AS {stage}_{part}"
    for stage in ("load", "first_run", "steady")
    for part in ("model_kb", "process_kb")
)
VIEWS = ("measurement_run", "latency")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return {
        name: statement.replace(FIRST, WITHHELD_FIRST).replace(BASELINE, f"{BASELINE} {BY_STAGE},")
        for name, statement in _views_before().items()
    }


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("measurement", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("measurement", sa.Column("memory", postgresql.JSONB(), nullable=True))
    _replace(views())


def downgrade() -> None:
    _replace(_views_before())
    for name in (*COLUMNS, "memory"):
        op.drop_column("measurement", name)


def _replace(views: dict[str, str]) -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    for name in VIEWS:
        op.execute(views[name])


def _views_before() -> dict[str, str]:
    views: dict[str, str] = context.script.get_revision(VIEWS_OF).module.views()
    return {name: views[name] for name in VIEWS}
