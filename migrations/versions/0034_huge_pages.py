"""Store how much of a process's memory was in huge pages; compare no runs with and without"""

import sqlalchemy as sa
from alembic import context, op

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0034"
down_revision = "0033"

#: The last revision before this one that changed the views of results, and that of duplicates.
VIEWS_OF = "0033"

COLUMNS = {"huge_pages_kb": sa.BigInteger()}
#: Of the view `device_duplicate`, whose columns stay: before, after.
APART = (
    ("x.threads, x.asked_cores,", "x.threads, x.asked_cores, x.huge_pages_kb IS NOT NULL AS huge_pages,"),
    ("threads, mode, asked_cores ORDER", "threads, mode, asked_cores, huge_pages ORDER"),
    ("threads, percentile_cont", "threads, huge_pages, percentile_cont"),
    ("threads HAVING", "threads, huge_pages HAVING"),
    ("PARTITION BY device_id, backend, threads)", "PARTITION BY device_id, backend, threads, huge_pages)"),
    ("backend, threads ORDER BY difference", "backend, threads, huge_pages ORDER BY difference"),
    ("s.threads = p.threads", "s.threads = p.threads AND s.huge_pages = p.huge_pages"),
)
#: Of `measurement_run`, which takes its intervals from the duplicates of the device.
RUN = (
    ("threads, max(between_runs)", "threads, huge_pages, max(between_runs)"),
    (
        """    FROM device_duplicate
    GROUP BY device_id, backend, threads
""",
        """    FROM (
        SELECT p.*, l.huge_pages_kb IS NOT NULL AS huge_pages
        FROM device_duplicate p JOIN measurement l ON l.id = p.later_id
    ) pair
    GROUP BY device_id, backend, threads, huge_pages
""",
    ),
    ("y.threads = x.threads", "y.threads = x.threads AND y.huge_pages = (x.huge_pages_kb IS NOT NULL)"),
)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), *RUN)


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    (duplicate,) = changed({"": _duplicate()}, *APART).values()
    op.execute(duplicate)
    replace_views(views())


def downgrade() -> None:
    op.execute(_duplicate())
    replace_views(result_views(VIEWS_OF))
    drop_columns("measurement", COLUMNS)


def _duplicate() -> str:
    before = context.script.get_revision(VIEWS_OF).module
    (view,) = changed({"": before._duplicate()}, before.RANKED, before.FROM_RANKED, before.AGREES).values()
    return view
