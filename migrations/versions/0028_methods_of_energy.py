"""Store what counted the energy of an inference; show it with results"""

import sqlalchemy as sa
from alembic import op

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0028"
down_revision = "0027"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0027"

COLUMNS = {"energy_method": sa.Text()}
#: Of the view `measurement_run`, which `latency` selects from: before, after.
RUN = ("x.energy_uj, x.energy_low_uj,", "x.energy_method, x.energy_uj, x.energy_low_uj,")
#: Until now only hosts had energy.
ALL_RAPL = "UPDATE measurement SET energy_method = 'rapl' WHERE energy_uj IS NOT NULL"


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), RUN)


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    op.execute(ALL_RAPL)
    replace_views(views())


def downgrade() -> None:
    # Energies of other methods would be taken for RAPL's.
    op.execute(
        "UPDATE measurement SET energy_uj = NULL, energy_low_uj = NULL, energy_high_uj = NULL "
        "WHERE energy_method <> 'rapl'"
    )
    replace_views(result_views(VIEWS_OF))
    drop_columns("measurement", COLUMNS)
