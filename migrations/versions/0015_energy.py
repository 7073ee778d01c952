"""Store the energy of an inference, with its interval"""

import sqlalchemy as sa

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0015"
down_revision = "0014"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0013"

COLUMNS = {"energy_uj": sa.Float(), "energy_low_uj": sa.Float(), "energy_high_uj": sa.Float()}
#: Of the view `measurement_run`, which `latency` selects from: before, after.
RUN = ("x.std_ns, x.cv,", "x.std_ns, x.cv, x.energy_uj, x.energy_low_uj, x.energy_high_uj,")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), RUN)


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    replace_views(views())


def downgrade() -> None:
    replace_views(result_views(VIEWS_OF))
    drop_columns("measurement", COLUMNS)
