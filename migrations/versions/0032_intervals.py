"""Intervals that cover the next measurement: the variation of both, and devices that jump now and then"""

from nnlite.db.replacing_views import changed, replace_views, result_views

revision = "0032"
down_revision = "0031"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0031"

#: Of the view `measurement_run`: before, after. Of normal differences of two runs the 90th percentile is
#: 1.6449 x sqrt(2) standard deviations of one; of a device with a few large differences it is more.
SPREAD = (
    "SELECT device_id, backend, threads, max(between_runs) AS std FROM device_duplicate\n",
    """SELECT device_id, backend, threads, max(between_runs) AS std,
           CASE WHEN max(between_runs) IS NOT NULL THEN greatest(
               max(between_runs),
               percentile_cont(0.9) WITHIN GROUP (ORDER BY difference) FILTER (WHERE same_day) / 2.3262
           ) END AS spread
    FROM device_duplicate
""",
)
#: Another measurement varies as much as the one that is shown.
HALF_WIDTH = ("(1.96 * y.std) ^ 2", "2 * (1.96 * y.spread) ^ 2")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), SPREAD, HALF_WIDTH)


def upgrade() -> None:
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(VIEWS_OF))
