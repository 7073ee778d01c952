"""Store why a pass for energy has none; show it with results"""

import sqlalchemy as sa

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0030"
down_revision = "0029"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0028"

COLUMNS = {"energy_error": sa.Text()}
#: Of the view `measurement_run`, which `latency` selects from: before, after.
RUN = ("x.energy_low_uj, x.energy_high_uj,", "x.energy_low_uj, x.energy_high_uj, x.energy_error,")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), RUN)


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(VIEWS_OF))
    drop_columns("measurement", COLUMNS)
