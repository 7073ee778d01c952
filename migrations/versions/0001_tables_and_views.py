"""The tables and views of the first release.

More than 300 lines: one revision makes the whole first schema.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


LATENCY = """
CREATE VIEW latency AS
SELECT c.name AS campaign, m.source, m.name AS model, m.task, m.dataset, m.transform, m.accuracy,
       m.parameters, a.precision, a.size_bytes, a.sha256 AS artifact_sha256, a.parity_ok,
       (a.parity->>'relative')::float8 AS parity_relative, a.rewrites,
       d.name AS device, d.kind, b.pool, x.backend, x.verdict, x.reasons, x.error, x.runs,
       x.init_ns, x.first_ns, x.median_ns, x.mean_ns, x.p90_ns, x.p95_ns, x.p99_ns, x.min_ns, x.max_ns,
       x.std_ns, x.cv, x.peak_rss_kb, x.baseline_rss_kb, x.delegate, x.delegated_nodes, x.total_nodes,
       a.input_shape, x.created_at, m.id AS model_id, a.id AS artifact_id, b.id AS benchmark_id
FROM measurement x
JOIN benchmark b ON b.id = x.benchmark_id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
-- By identity: models that are the same in all but their name share one measurement.
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity AND v.state <> 'left_out'
JOIN model m ON m.id = v.model_id
JOIN device d ON d.id = x.device_id
"""

CAMPAIGN_PROGRESS = """
CREATE VIEW campaign_progress AS
SELECT c.id, c.name, c.state, c.priority, c.created_at, v.*, b.*,
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
       (array_agg(m.name ORDER BY m.name))[1:5] AS examples
FROM (
    SELECT 'conversion' AS work, id AS conversion_id, campaign_id, state, failure_class, stage, reason
    FROM conversion
    UNION ALL
    SELECT 'benchmark', conversion_id, campaign_id, state, failure_class, stage, reason FROM benchmark
) w
JOIN conversion v ON v.id = w.conversion_id
JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = w.campaign_id
WHERE w.state IN ('failed', 'quarantined', 'left_out')
GROUP BY c.name, w.work, w.state, w.failure_class, w.stage, w.reason
"""

OP_SUPPORT = """
CREATE VIEW op_support AS
SELECT operator, sum(artifacts)::bigint AS artifacts, sum(failures)::bigint AS failures
FROM (
    SELECT jsonb_object_keys(operators) AS operator, 1 AS artifacts, 0 AS failures FROM artifact
    UNION ALL
    SELECT details->>'operator', 0, 1 FROM attempt WHERE details->>'operator' IS NOT NULL
) o
GROUP BY operator
"""
VIEWS = {
    "latency": LATENCY,
    "campaign_progress": CAMPAIGN_PROGRESS,
    "failure_summary": FAILURE_SUMMARY,
    "op_support": OP_SUPPORT,
}


def upgrade() -> None:
    op.create_table(
        "artifact",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("cache_key", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("precision", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("converter", sa.Text(), nullable=False),
        sa.Column("rewrites", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("operators", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("outputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reference_outputs", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("parity_ok", sa.Boolean(), nullable=False),
        sa.Column("parity", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("state_dict_sha256", sa.Text(), nullable=True),
        sa.Column("input_shape", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("timings_ns", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("peak_rss_kb", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact")),
        sa.UniqueConstraint("cache_key", name=op.f("uq_artifact_cache_key")),
    )
    op.create_index(
        op.f("ix_artifact_identity_precision"), "artifact", ["identity", "precision"], unique=False
    )
    op.create_table(
        "campaign",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("precisions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("pools", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("backends", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
    )
    op.create_table(
        "code",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_code")),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("owner_node", sa.Text(), nullable=True),
        sa.Column("context", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "seen_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("name", name=op.f("uq_device_name")),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("work_id", sa.UUID(), nullable=False),
        sa.Column("campaign_id", sa.UUID(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("owner_node", sa.Text(), nullable=False),
        sa.Column("owner_instance", sa.Text(), nullable=False),
        sa.Column(
            "started_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_attempt_campaign_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("work_id", "number", name=op.f("uq_attempt_work_id_number")),
    )
    op.create_index(op.f("ix_attempt_campaign_id"), "attempt", ["campaign_id"], unique=False)
    op.create_table(
        "model",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("code_sha256", sa.Text(), nullable=False),
        sa.Column("transform_sha256", sa.Text(), nullable=True),
        sa.Column("transform", sa.Text(), nullable=True),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("hyperparameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("configuration_source", sa.Text(), nullable=False),
        sa.Column("input_shape", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("input_dtype", sa.Text(), nullable=False),
        sa.Column("classes", sa.BigInteger(), nullable=False),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("state_dict_sha256", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["code_sha256"], ["code.sha256"], name=op.f("fk_model_code_sha256")),
        sa.ForeignKeyConstraint(
            ["transform_sha256"], ["code.sha256"], name=op.f("fk_model_transform_sha256")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
    )
    op.create_index(op.f("ix_model_identity"), "model", ["identity"], unique=False)
    op.create_index(op.f("ix_model_name"), "model", ["name"], unique=False)
    op.create_table(
        "conversion",
        sa.Column("model_id", sa.UUID(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=True),
        sa.Column("timings_ns", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("peak_rss_kb", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column(
            "available_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "sent_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("strikes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("losses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner_node", sa.Text(), nullable=True),
        sa.Column("owner_instance", sa.Text(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deadline", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("campaign_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_conversion_campaign_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_conversion_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversion")),
        sa.UniqueConstraint("campaign_id", "model_id", name=op.f("uq_conversion_campaign_id_model_id")),
    )
    op.create_index(
        op.f("ix_conversion_campaign_id_state"), "conversion", ["campaign_id", "state"], unique=False
    )
    op.create_index(
        "ix_conversion_queued",
        "conversion",
        ["priority", "sent_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "uq_conversion_running",
        "conversion",
        ["identity"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "benchmark",
        sa.Column("conversion_id", sa.UUID(), nullable=False),
        sa.Column("artifact_id", sa.UUID(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column(
            "available_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "sent_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("strikes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("losses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner_node", sa.Text(), nullable=True),
        sa.Column("owner_instance", sa.Text(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deadline", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("campaign_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifact.id"], name=op.f("fk_benchmark_artifact_id")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_benchmark_campaign_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["conversion_id"], ["conversion.id"], name=op.f("fk_benchmark_conversion_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_benchmark")),
        sa.UniqueConstraint(
            "campaign_id", "artifact_id", "pool", name=op.f("uq_benchmark_campaign_id_artifact_id_pool")
        ),
    )
    op.create_index(
        op.f("ix_benchmark_campaign_id_state"), "benchmark", ["campaign_id", "state"], unique=False
    )
    op.create_index(op.f("ix_benchmark_conversion_id"), "benchmark", ["conversion_id"], unique=False)
    op.create_index(
        "ix_benchmark_queued",
        "benchmark",
        ["priority", "sent_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_benchmark_running",
        "benchmark",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("device_id", sa.UUID(), nullable=False),
        sa.Column("benchmark_id", sa.UUID(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("rungs", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("healed", sa.Boolean(), nullable=False),
        sa.Column("duration_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["benchmark_id"], ["benchmark.id"], name=op.f("fk_incident_benchmark_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_incident_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    op.create_table(
        "measurement",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("benchmark_id", sa.UUID(), nullable=False),
        sa.Column("device_id", sa.UUID(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("init_ns", sa.BigInteger(), nullable=True),
        sa.Column("first_ns", sa.BigInteger(), nullable=True),
        sa.Column("mean_ns", sa.BigInteger(), nullable=True),
        sa.Column("median_ns", sa.BigInteger(), nullable=True),
        sa.Column("p90_ns", sa.BigInteger(), nullable=True),
        sa.Column("p95_ns", sa.BigInteger(), nullable=True),
        sa.Column("p99_ns", sa.BigInteger(), nullable=True),
        sa.Column("min_ns", sa.BigInteger(), nullable=True),
        sa.Column("max_ns", sa.BigInteger(), nullable=True),
        sa.Column("std_ns", sa.BigInteger(), nullable=True),
        sa.Column("cv", sa.Double(), nullable=True),
        sa.Column("peak_rss_kb", sa.BigInteger(), nullable=True),
        sa.Column("baseline_rss_kb", sa.BigInteger(), nullable=True),
        sa.Column("delegate", sa.Text(), nullable=True),
        sa.Column("delegated_nodes", sa.BigInteger(), nullable=True),
        sa.Column("total_nodes", sa.BigInteger(), nullable=True),
        sa.Column("samples_ns", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["benchmark_id"], ["benchmark.id"], name=op.f("fk_measurement_benchmark_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_measurement_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurement")),
        sa.UniqueConstraint("benchmark_id", "backend", name=op.f("uq_measurement_benchmark_id_backend")),
    )
    for statement in VIEWS.values():
        op.execute(statement)


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_table("measurement")
    op.drop_table("incident")
    op.drop_index(
        "ix_benchmark_running", table_name="benchmark", postgresql_where=sa.text("state = 'running'")
    )
    op.drop_index("ix_benchmark_queued", table_name="benchmark", postgresql_where=sa.text("state = 'queued'"))
    op.drop_index(op.f("ix_benchmark_conversion_id"), table_name="benchmark")
    op.drop_index(op.f("ix_benchmark_campaign_id_state"), table_name="benchmark")
    op.drop_table("benchmark")
    op.drop_index(
        "uq_conversion_running", table_name="conversion", postgresql_where=sa.text("state = 'running'")
    )
    op.drop_index(
        "ix_conversion_queued", table_name="conversion", postgresql_where=sa.text("state = 'queued'")
    )
    op.drop_index(op.f("ix_conversion_campaign_id_state"), table_name="conversion")
    op.drop_table("conversion")
    op.drop_index(op.f("ix_model_name"), table_name="model")
    op.drop_index(op.f("ix_model_identity"), table_name="model")
    op.drop_table("model")
    op.drop_index(op.f("ix_attempt_campaign_id"), table_name="attempt")
    op.drop_table("attempt")
    op.drop_table("device")
    op.drop_table("code")
    op.drop_table("campaign")
    op.drop_index(op.f("ix_artifact_identity_precision"), table_name="artifact")
    op.drop_table("artifact")
