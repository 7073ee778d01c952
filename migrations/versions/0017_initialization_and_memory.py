"""Store initialization with a cache, cold and warm, and memory by stage; withhold what tells a latency"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0017"
down_revision = "0016"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0015"

COLUMNS = {"init_cold_ns": sa.BigInteger(), "init_warm_ns": sa.BigInteger(), "memory": postgresql.JSONB()}
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


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    before = result_views(VIEWS_OF)
    return changed(before, (FIRST, WITHHELD_FIRST), (BASELINE, f"{BASELINE} {BY_STAGE},"))


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(VIEWS_OF))
    drop_columns("measurement", COLUMNS)
