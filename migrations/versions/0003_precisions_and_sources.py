"""Precisions, sources and runtime checks"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

LATENCY = """
CREATE VIEW latency AS
SELECT c.name AS campaign, m.source, m.name AS model, m.task, m.dataset, m.transform, m.accuracy,
       m.parameters, a.precision, a.size_bytes, a.sha256 AS artifact_sha256, a.parity_ok,
       (a.parity->>'relative')::float8 AS parity_relative, (a.parity->>'sqnr_db')::float8 AS sqnr_db,
       (a.parity->>'cosine')::float8 AS cosine, (a.parity->>'top1_agreement')::float8 AS top1_agreement,
       (a.parity->>'samples')::bigint AS parity_samples, a.parity->>'reason' AS parity_reason,
       a.calibration->>'provenance' AS calibration, a.rewrites,
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

CAMPAIGN_PROGRESS = """
CREATE VIEW campaign_progress AS
SELECT c.id, c.name, c.state, c.priority, c.created_at, v.*, r.*, b.*,
       v.converting + v.conversions_queued + b.measuring + b.benchmarks_queued = 0 AS ended
FROM campaign c
CROSS JOIN LATERAL (
    SELECT count(*) AS models,
           count(*) FILTER (WHERE state = 'done') AS converted,
           count(*) FILTER (WHERE state = 'done' AND cached) AS from_cache,
           count(*) FILTER (WHERE state = 'queued') AS conversions_queued,
           count(*) FILTER (WHERE state = 'running') AS converting,
           count(*) FILTER (WHERE state = 'failed') AS conversions_failed,
           count(*) FILTER (WHERE state = 'quarantined') AS conversions_quarantined,
           count(*) FILTER (WHERE state = 'left_out') AS left_out,
           count(*) FILTER (WHERE state = 'cancelled') AS conversions_cancelled
    FROM conversion WHERE campaign_id = c.id
) v
CROSS JOIN LATERAL (
    SELECT count(*) AS precisions_refused
    FROM refused_precision p JOIN conversion w ON w.id = p.conversion_id WHERE w.campaign_id = c.id
) r
CROSS JOIN LATERAL (
    SELECT count(*) AS benchmarks,
           count(DISTINCT conversion_id) FILTER (WHERE state IN ('queued', 'running')) AS models_measuring,
           count(*) FILTER (WHERE state = 'done') AS measured,
           count(*) FILTER (WHERE state = 'queued') AS benchmarks_queued,
           count(*) FILTER (WHERE state = 'running') AS measuring,
           count(*) FILTER (WHERE state = 'failed') AS benchmarks_failed,
           count(*) FILTER (WHERE state = 'quarantined') AS benchmarks_quarantined,
           count(*) FILTER (WHERE state = 'cancelled') AS benchmarks_cancelled
    FROM benchmark WHERE campaign_id = c.id
) b
"""

FAILURE_SUMMARY = """
CREATE VIEW failure_summary AS
SELECT c.name AS campaign, w.work, w.state, w.failure_class, w.stage, w.reason, count(*) AS models,
       (array_agg(m.name ORDER BY m.name))[1:5] AS examples, w.precision
FROM (
    SELECT 'conversion' AS work, id AS conversion_id, campaign_id, state, failure_class, stage, reason,
           NULL AS precision
    FROM conversion
    UNION ALL
    SELECT 'benchmark', b.conversion_id, b.campaign_id, b.state, b.failure_class, b.stage, b.reason,
           a.precision
    FROM benchmark b JOIN artifact a ON a.id = b.artifact_id
    UNION ALL
    SELECT 'conversion', p.conversion_id, v.campaign_id, 'refused', 'model', p.stage, p.reason, p.precision
    FROM refused_precision p JOIN conversion v ON v.id = p.conversion_id
) w
JOIN conversion v ON v.id = w.conversion_id
JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = w.campaign_id
WHERE w.state IN ('failed', 'quarantined', 'left_out', 'refused')
GROUP BY c.name, w.work, w.state, w.failure_class, w.stage, w.reason, w.precision
"""
REPLACED = {"latency": LATENCY, "campaign_progress": CAMPAIGN_PROGRESS, "failure_summary": FAILURE_SUMMARY}


def upgrade() -> None:
    _precisions()
    _sources()
    _runtime_checks()
    for name, statement in REPLACED.items():
        op.execute(f"DROP VIEW {name}")
        op.execute(statement)


def downgrade() -> None:
    for name in REPLACED:
        op.execute(f"DROP VIEW {name}")
    op.drop_table("runtime_check")
    _no_sources()
    op.drop_table("refused_precision")
    op.drop_column("artifact", "calibration")
    first = context.script.get_revision("0001").module.VIEWS
    for name in REPLACED:
        op.execute(first[name])


def _precisions() -> None:
    op.add_column(
        "artifact", sa.Column("calibration", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )
    op.create_table(
        "refused_precision",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversion_id", sa.UUID(), nullable=False),
        sa.Column("cache_key", sa.Text(), nullable=False),
        sa.Column("precision", sa.Text(), nullable=False),
        sa.Column("converter", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["conversion_id"],
            ["conversion.id"],
            name=op.f("fk_refused_precision_conversion_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_precision")),
        sa.UniqueConstraint(
            "conversion_id", "precision", name=op.f("uq_refused_precision_conversion_id_precision")
        ),
    )
    op.create_index(op.f("ix_refused_precision_cache_key"), "refused_precision", ["cache_key"])


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
