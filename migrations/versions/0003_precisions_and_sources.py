"""Every precision, every source, and what the phones' runtime says of an artifact"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

LATENCY = """
CREATE VIEW latency AS
SELECT c.name AS campaign, m.source, m.name AS model, m.task, m.dataset, m.transform, m.accuracy,
       m.parameters, a.precision, a.size_bytes, a.sha256 AS artifact_sha256, a.parity_ok,
       (a.parity->>'relative')::float8 AS parity_relative, a.rewrites,
       d.name AS device, d.kind, b.pool, x.backend, x.verdict, x.reasons, x.error, x.runs,
       x.init_ns, x.first_ns, x.median_ns, x.mean_ns, x.p90_ns, x.p95_ns, x.p99_ns, x.min_ns, x.max_ns,
       x.std_ns, x.cv, x.peak_rss_kb, x.baseline_rss_kb, x.delegate, x.delegated_nodes, x.total_nodes,
       a.input_shape, x.created_at, m.id AS model_id, a.id AS artifact_id, b.id AS benchmark_id,
       k.runtime_version, coalesce(k.verdict, k.state) AS runtime_check, k.reason AS runtime_reason,
       m.configuration_source, m.hyperparameters,
       m.parameters <= coalesce((c.settings->'catalog'->>'efficiency_max_parameters')::bigint, 6000000)
           AS param_gate_ok,
       -- In 1/ms, as NN-GPT ranks its models.
       CASE WHEN x.verdict = 'valid'
            THEN round((m.accuracy / nullif(x.median_ns / 1e6, 0))::numeric, 6)::float8 END AS efficiency
FROM measurement x
JOIN benchmark b ON b.id = x.benchmark_id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
-- By identity: models that are the same in all but their name share one measurement.
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'left_out'
JOIN model m ON m.id = v.model_id
JOIN device d ON d.id = x.device_id
LEFT JOIN LATERAL (
    SELECT * FROM runtime_check WHERE artifact_sha256 = a.sha256 ORDER BY started_at DESC LIMIT 1
) k ON true
"""


def upgrade() -> None:
    _precisions()
    _sources()
    _runtime_checks()
    op.execute("DROP VIEW latency")
    op.execute(LATENCY)


def downgrade() -> None:
    op.execute("DROP VIEW latency")
    op.drop_table("runtime_check")
    _no_sources()
    op.execute(context.script.get_revision("0001").module.LATENCY)


def _precisions() -> None:
    pass


def _sources() -> None:
    op.alter_column("model", "code_sha256", nullable=True)
    op.add_column("model", sa.Column("inputs", postgresql.JSONB(), nullable=True))
    op.add_column("model", sa.Column("layout", sa.Text(), server_default="nhwc", nullable=False))
    op.add_column("model", sa.Column("form", sa.Text(), server_default="lemur", nullable=False))
    op.add_column("model", sa.Column("entry", sa.Text(), nullable=True))
    op.add_column("model", sa.Column("weights_suffix", sa.Text(), nullable=True))
    op.alter_column("artifact", "parity_ok", nullable=True)
    op.alter_column("artifact", "parity", nullable=True)


def _no_sources() -> None:
    op.execute("UPDATE artifact SET parity_ok = coalesce(parity_ok, false), parity = coalesce(parity, '{}')")
    op.alter_column("artifact", "parity", nullable=False)
    op.alter_column("artifact", "parity_ok", nullable=False)
    # The first releases know no model without code: those of files get an empty one.
    op.execute("INSERT INTO code (sha256, text) VALUES ('', '') ON CONFLICT DO NOTHING")
    op.execute("UPDATE model SET code_sha256 = '' WHERE code_sha256 IS NULL")
    op.alter_column("model", "code_sha256", nullable=False)
    for name in ("weights_suffix", "entry", "form", "layout", "inputs"):
        op.drop_column("model", name)


def _runtime_checks() -> None:
    moment = postgresql.TIMESTAMP(timezone=True)
    now = sa.text("now()")
    op.create_table(
        "runtime_check",
        sa.Column("artifact_sha256", sa.Text(), nullable=False),
        sa.Column("runtime_version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("available_at", moment, server_default=now, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("strikes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("losses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner_node", sa.Text(), nullable=True),
        sa.Column("lease_until", moment, nullable=True),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("operator", sa.Text(), nullable=True),
        sa.Column("operator_version", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("parity", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", moment, server_default=now, nullable=False),
        sa.Column("started_at", moment, server_default=now, nullable=False),
        sa.Column("finished_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("artifact_sha256", "runtime_version", name=op.f("pk_runtime_check")),
    )
