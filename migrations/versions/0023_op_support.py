"""Artifacts have the operators of their network's graph; which operators are converted is a view"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"

#: The revision that made the view before.
VIEW_OF = "0001"

OP_SUPPORT = """
CREATE VIEW op_support AS
WITH converted AS (
    SELECT DISTINCT ON (identity, precision) identity, precision, parity_state, graph_operators
    FROM artifact WHERE jsonb_typeof(graph_operators) = 'object'
    ORDER BY identity, precision, created_at DESC, id
), blamed AS (
    SELECT v.identity, unnest(c.precisions) AS precision, t.details->>'operator' AS operator
    FROM conversion v
    JOIN campaign c ON c.id = v.campaign_id
    JOIN attempt t ON t.work_id = v.id AND t.number = v.attempt
    WHERE v.state IN ('failed', 'quarantined')
    UNION ALL
    SELECT v.identity, p.precision, p.details->>'operator'
    FROM refused_precision p JOIN conversion v ON v.id = p.conversion_id
    WHERE p.precision <> 'onnx'
)
SELECT operator, precision, parity_state AS state, count(*) AS models
FROM converted, jsonb_object_keys(graph_operators) AS operator
GROUP BY operator, precision, parity_state
UNION ALL
SELECT o.operator, b.precision, 'refused', count(DISTINCT b.identity)
FROM blamed b,
     -- Without the overload, as graphs count them.
     regexp_replace(b.operator, '^(\\w+\\.\\w+)\\.\\w+$', '\\1') AS o (operator)
WHERE o.operator IS NOT NULL AND NOT EXISTS (
    SELECT FROM artifact a
    WHERE a.identity = b.identity AND a.precision = b.precision AND a.path LIKE '%.tflite'
)
GROUP BY o.operator, b.precision
"""


def upgrade() -> None:
    op.add_column("artifact", sa.Column("graph_operators", postgresql.JSONB(), nullable=True))
    op.execute("DROP VIEW op_support")
    op.execute(OP_SUPPORT)


def downgrade() -> None:
    op.execute("DROP VIEW op_support")
    op.execute(context.script.get_revision(VIEW_OF).module.OP_SUPPORT)
    op.drop_column("artifact", "graph_operators")
