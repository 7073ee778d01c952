"""Equal causes of failures are one row; refused precisions have a class"""

import sqlalchemy as sa
from alembic import context, op

revision = "0018"
down_revision = "0017"

#: The revision that made the view before.
VIEW_OF = "0005"

FAILURE_SUMMARY = """
CREATE VIEW failure_summary AS
SELECT c.name AS campaign, w.work, w.state, w.failure_class, w.stage,
       coalesce(w.details->>'cause', a.details->>'cause', w.reason) AS reason, count(*) AS models,
       (array_agg(m.name ORDER BY m.name))[1:5] AS examples, w.precision
FROM (
    SELECT 'conversion' AS work, id, attempt, id AS conversion_id, campaign_id, state, failure_class, stage,
           reason, NULL AS precision, NULL::jsonb AS details
    FROM conversion
    UNION ALL
    SELECT 'benchmark', b.id, b.attempt, b.conversion_id, b.campaign_id, b.state, b.failure_class, b.stage,
           b.reason, a.precision, NULL
    FROM benchmark b JOIN artifact a ON a.id = b.artifact_id
    WHERE NOT EXISTS (
        SELECT FROM benchmark r WHERE r.campaign_id = b.campaign_id AND r.artifact_id = b.artifact_id
                                  AND r.pool = b.pool AND r.state = 'done'
    )
    UNION ALL
    SELECT 'conversion', v.id, NULL, p.conversion_id, v.campaign_id, 'refused', p.failure_class, p.stage,
           p.reason, p.precision, p.details
    FROM refused_precision p JOIN conversion v ON v.id = p.conversion_id
) w
LEFT JOIN attempt a ON a.work_id = w.id AND a.number = w.attempt
JOIN conversion v ON v.id = w.conversion_id
JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = w.campaign_id
WHERE w.state IN ('failed', 'quarantined', 'skipped', 'refused')
GROUP BY c.name, w.work, w.state, w.failure_class, w.stage,
         coalesce(w.details->>'cause', a.details->>'cause', w.reason), w.precision
"""


def upgrade() -> None:
    op.add_column(
        "refused_precision", sa.Column("failure_class", sa.Text(), server_default="model", nullable=False)
    )
    op.execute("DROP VIEW failure_summary")
    op.execute(FAILURE_SUMMARY)


def downgrade() -> None:
    op.execute("DROP VIEW failure_summary")
    op.execute(context.script.get_revision(VIEW_OF).module.views()["failure_summary"])
    op.drop_column("refused_precision", "failure_class")
