"""Store a phone's clock policy and conditions, and what a delegate refused; show that by operator"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import add_columns, changed, drop_columns, replace_views, result_views

revision = "0022"
down_revision = "0021"

#: The last revision before this one that changed the views of results.
VIEWS_OF = "0020"

COLUMNS = {
    "clocks": sa.Text(),
    "conditions": postgresql.ARRAY(sa.Text()),
    "delegate_refusals": postgresql.JSONB(),
}
#: Of the view `measurement_run`, which `latency` selects from: before, after.
RUN = ("x.noise_cause,", "x.noise_cause, x.clocks, x.conditions,")

#: Does not select from `latency`, which other migrations replace.
DELEGATE_REFUSALS = """
CREATE VIEW delegate_refusals AS
SELECT c.name AS campaign, m.name AS model, a.precision, d.name AS device, b.pool, x.backend, x.delegate,
       f->>'operator' AS operator, (f->>'nodes')::bigint AS nodes, f->>'reason' AS reason,
       a.id AS artifact_id, x.id AS measurement_id
FROM measurement x
CROSS JOIN LATERAL jsonb_array_elements(x.delegate_refusals) f
JOIN benchmark b ON b.id = x.benchmark_id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
-- By identity: models that are the same in all but their name share one measurement.
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'skipped'
JOIN model m ON m.id = v.model_id
JOIN device d ON d.id = x.device_id
"""


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), RUN)


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    replace_views(views())
    op.execute(DELEGATE_REFUSALS)


def downgrade() -> None:
    op.execute("DROP VIEW delegate_refusals")
    replace_views(result_views(VIEWS_OF))
    drop_columns("measurement", COLUMNS)
