"""Store the times of a profiled artifact's operators; show them by model and by type"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"

#: Does not select from `latency`, which other migrations replace.
OPERATOR_PROFILE = """
CREATE VIEW operator_profile AS
SELECT c.name AS campaign, m.name AS model, a.precision, d.name AS device, b.pool, x.backend, x.threads,
       x.verdict, x.median_ns, (x.profile->>'inference_ns')::bigint AS inference_ns,
       (x.profile->>'runs')::bigint AS runs, o.index, o.node, o.type, o.name, o.delegate, o.time_ns, o.share,
       o.output, a.id AS artifact_id, x.id AS measurement_id
FROM operator_time o
JOIN measurement x ON x.id = o.measurement_id
JOIN benchmark b ON b.id = x.benchmark_id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
-- By identity: models that are the same in all but their name share one measurement.
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'skipped'
JOIN model m ON m.id = v.model_id
JOIN device d ON d.id = x.device_id
"""

OPERATOR_TYPE_PROFILE = """
CREATE VIEW operator_type_profile AS
SELECT campaign, model, precision, device, pool, backend, threads, verdict, median_ns, inference_ns, runs,
       coalesce(type, name) AS type, delegate, count(*) AS operators, sum(time_ns)::bigint AS time_ns,
       sum(share) AS share, artifact_id, measurement_id
FROM operator_profile
GROUP BY campaign, model, precision, device, pool, backend, threads, verdict, median_ns, inference_ns, runs,
         coalesce(type, name), delegate, artifact_id, measurement_id
"""


def upgrade() -> None:
    op.add_column("measurement", sa.Column("profile", postgresql.JSONB(), nullable=True))
    op.create_table(
        "operator_time",
        sa.Column("measurement_id", postgresql.UUID(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("delegate", sa.Text(), nullable=True),
        sa.Column("node", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("measurement_id", "index", name="pk_operator_time"),
        sa.ForeignKeyConstraint(
            ["measurement_id"],
            ["measurement.id"],
            name="fk_operator_time_measurement_id",
            ondelete="CASCADE",
        ),
    )
    op.execute(OPERATOR_PROFILE)
    op.execute(OPERATOR_TYPE_PROFILE)


def downgrade() -> None:
    op.execute("DROP VIEW operator_type_profile")
    op.execute("DROP VIEW operator_profile")
    op.drop_table("operator_time")
    op.drop_column("measurement", "profile")
