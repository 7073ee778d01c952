"""Store the latency over time of continuous inference; views of its plateau and of its series"""

from alembic import op
from sqlalchemy.dialects import postgresql

from nnlite.db.replacing_views import add_columns, drop_columns

revision = "0024"
down_revision = "0023"

COLUMNS = {"sustained": postgresql.JSONB()}

#: Neither selects from `latency`, which other migrations replace.
SUSTAINED = """
CREATE VIEW sustained AS
SELECT c.name AS campaign, m.name AS model, a.precision, d.name AS device, b.pool, x.backend, x.threads,
       (x.sustained->>'seconds')::bigint AS seconds,
       (x.sustained->>'first_level_ns')::bigint AS first_level_ns,
       (x.sustained->>'plateau_ns')::bigint AS plateau_ns,
       (x.sustained->>'slower_after_ns')::bigint AS slower_after_ns,
       x.sustained->>'shape' AS shape, x.sustained->>'error' AS error,
       x.median_ns, x.verdict, a.id AS artifact_id, x.id AS measurement_id
FROM measurement x
JOIN benchmark b ON b.id = x.benchmark_id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
-- By identity: models that are the same in all but their name share one measurement.
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'skipped'
JOIN model m ON m.id = v.model_id
JOIN device d ON d.id = x.device_id
WHERE x.sustained IS NOT NULL
"""

SERIES = """
CREATE VIEW sustained_series AS
SELECT s.campaign, s.model, s.precision, s.device, s.pool, s.backend, s.threads, t.bin,
       t.end_ns::bigint AS end_ns, t.runs::bigint AS runs, t.median_ns::bigint AS median_ns,
       s.artifact_id, s.measurement_id
FROM sustained s
JOIN measurement x ON x.id = s.measurement_id
CROSS JOIN LATERAL ROWS FROM (
    jsonb_array_elements_text(x.sustained #> '{bins,end_ns}'),
    jsonb_array_elements_text(x.sustained #> '{bins,runs}'),
    jsonb_array_elements_text(x.sustained #> '{bins,median_ns}')
) WITH ORDINALITY AS t (end_ns, runs, median_ns, bin)
WHERE s.error IS NULL
"""


def upgrade() -> None:
    add_columns("measurement", COLUMNS)
    op.execute(SUSTAINED)
    op.execute(SERIES)


def downgrade() -> None:
    op.execute("DROP VIEW sustained_series")
    op.execute("DROP VIEW sustained")
    drop_columns("measurement", COLUMNS)
