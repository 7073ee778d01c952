"""Store which cores a measurement was on; show that with results; compare no runs on different choices"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0027"
down_revision = "0026"

#: The last revisions before this one that changed the views of results, and that of duplicates.
VIEWS_OF = "0026"
DUPLICATE_OF = "0011"

COLUMNS = {"asked_cores": sa.Text(), "cores": postgresql.ARRAY(sa.BigInteger())}
#: Of the view `measurement_run`, which `latency` selects from: before, after.
RUN = ("x.noise_cause, x.clocks,", "x.noise_cause, x.asked_cores, x.cores, x.clocks,")
#: In `device_duplicate`, whose columns stay.
APART = (
    ("x.threads,", "x.threads, x.asked_cores,"),
    ("artifact_id, threads, mode ORDER", "artifact_id, threads, mode, asked_cores ORDER"),
)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), RUN)


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
    view: str = context.script.get_revision(DUPLICATE_OF).module.views()["device_duplicate"]
    return view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")
