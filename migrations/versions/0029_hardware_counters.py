"""Store what a phone's processor counted of an inference; a view of it by event"""

from alembic import op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import add_columns, drop_columns

revision = "0029"
down_revision = "0028"

COLUMNS = {"counters": postgresql.JSONB()}

#: Does not select from `latency`, which other migrations replace.
HARDWARE_COUNTERS = """
CREATE VIEW hardware_counters AS
SELECT c.name AS campaign, m.name AS model, a.precision, d.name AS device, b.pool, x.backend, x.threads,
       e.event, e.per_inference::float8 AS per_inference, x.counters->>'error' AS error,
       a.id AS artifact_id, x.id AS measurement_id
FROM measurement x
LEFT JOIN LATERAL jsonb_each_text(x.counters->'per_inference') AS e (event, per_inference) ON true
JOIN benchmark b ON b.id = x.benchmark_id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
-- By identity: models that are the same in all but their name share one measurement.
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'skipped'
JOIN model m ON m.id = v.model_id
JOIN device d ON d.id = x.device_id
WHERE x.counters IS NOT NULL
"""


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    op.execute(HARDWARE_COUNTERS)


def downgrade() -> None:
    op.execute("DROP VIEW hardware_counters")
    drop_columns("measurement", COLUMNS)
