"""A benchmark with several duplicates is one agreement or disagreement"""

from alembic import context, op

revision = "0016"
down_revision = "0015"

#: The revision that made the view.
VIEW_OF = "0010"
#: A benchmark records all its backends and numbers of threads at one time: before, after.
ONE_ROW_PER_BENCHMARK = (
    "FROM device_duplicate WINDOW in_time AS (PARTITION BY device_id ORDER BY created_at, later_id)",
    """FROM (
        SELECT device_id, created_at, bool_and(agrees) AS agrees
        FROM device_duplicate GROUP BY device_id, created_at
    ) benchmark WINDOW in_time AS (PARTITION BY device_id ORDER BY created_at)""",
)


def upgrade() -> None:
    op.execute(_replacing().replace(*ONE_ROW_PER_BENCHMARK))


def downgrade() -> None:
    op.execute(_replacing())


def _replacing() -> str:
    view: str = context.script.get_revision(VIEW_OF).module.SUSPECT_SPAN
    return view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")
