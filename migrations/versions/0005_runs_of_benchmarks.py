"""Number the runs of a benchmark; show the best result and all of them"""

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"

#: Added to the columns of `latency`, and to its sources, to make the view of all runs.
RUN_COLUMNS = ", b.run, b.purpose, r.best\nFROM measurement x"
RANKED = """
JOIN (
    SELECT x.id, row_number() OVER (
        PARTITION BY b.campaign_id, b.artifact_id, b.pool, x.backend
        ORDER BY array_position(ARRAY['valid', 'noisy', 'throttled', 'invalid'], x.verdict),
                 x.created_at DESC, x.id
    ) = 1 AS best
    FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id
) r ON r.id = x.id
JOIN benchmark b ON b.id = x.benchmark_id
"""

LATENCY = "CREATE VIEW latency AS SELECT * FROM measurement_run WHERE best"

#: An artifact counts once for each pool, by its last run; one with a result has not failed.
BENCHMARKS = """
CROSS JOIN LATERAL (
    SELECT count(*) AS benchmarks,
           count(DISTINCT conversion_id) FILTER (WHERE queued + running > 0) AS models_measuring,
           count(*) FILTER (WHERE done) AS measured,
           coalesce(sum(queued), 0)::bigint AS benchmarks_queued,
           coalesce(sum(running), 0)::bigint AS measuring,
           count(*) FILTER (WHERE NOT done AND state = 'failed') AS benchmarks_failed,
           count(*) FILTER (WHERE NOT done AND state = 'quarantined') AS benchmarks_quarantined,
           count(*) FILTER (WHERE NOT done AND state = 'cancelled') AS benchmarks_cancelled,
           count(*) FILTER (WHERE done AND queued + running > 0) AS repeating
    FROM (
        SELECT conversion_id, bool_or(state = 'done') AS done,
               count(*) FILTER (WHERE state = 'queued') AS queued,
               count(*) FILTER (WHERE state = 'running') AS running,
               (array_agg(state ORDER BY run DESC))[1] AS state
        FROM benchmark WHERE campaign_id = c.id GROUP BY conversion_id, artifact_id, pool
    ) artifact
) b
"""

WITHOUT_RESULT = """JOIN artifact a ON a.id = b.artifact_id
    WHERE NOT EXISTS (
        SELECT FROM benchmark r WHERE r.campaign_id = b.campaign_id AND r.artifact_id = b.artifact_id
                                  AND r.pool = b.pool AND r.state = 'done'
    )
    UNION ALL"""


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    before = _views_before()
    runs = before["latency"].replace("VIEW latency", "VIEW measurement_run")
    runs = runs.replace("\nFROM measurement x", RUN_COLUMNS)
    runs = runs.replace("\nJOIN benchmark b ON b.id = x.benchmark_id\n", RANKED)
    progress, _, _ = before["campaign_progress"].rpartition("CROSS JOIN LATERAL")
    failures = before["failure_summary"].replace(
        "JOIN artifact a ON a.id = b.artifact_id\n    UNION ALL", WITHOUT_RESULT
    )
    return {
        "measurement_run": runs,
        "latency": LATENCY,
        "campaign_progress": progress.rstrip() + BENCHMARKS,
        "failure_summary": failures,
    }


def upgrade() -> None:
    op.add_column("benchmark", sa.Column("run", sa.BigInteger(), server_default="1", nullable=False))
    op.add_column("benchmark", sa.Column("purpose", sa.Text(), server_default="first", nullable=False))
    op.drop_constraint("uq_benchmark_campaign_id_artifact_id_pool", "benchmark")
    op.create_unique_constraint(
        "uq_benchmark_campaign_id_artifact_id_pool_run",
        "benchmark",
        ["campaign_id", "artifact_id", "pool", "run"],
    )
    for name in _views_before():
        op.execute(f"DROP VIEW {name}")
    for statement in views().values():
        op.execute(statement)


def downgrade() -> None:
    for name in reversed(views()):
        op.execute(f"DROP VIEW {name}")
    # Earlier releases store one run of an artifact: the first, as they would have measured it.
    op.execute("DELETE FROM attempt USING benchmark b WHERE attempt.work_id = b.id AND b.run > 1")
    op.execute("DELETE FROM benchmark WHERE run > 1")
    op.drop_constraint("uq_benchmark_campaign_id_artifact_id_pool_run", "benchmark")
    op.create_unique_constraint(
        "uq_benchmark_campaign_id_artifact_id_pool", "benchmark", ["campaign_id", "artifact_id", "pool"]
    )
    op.drop_column("benchmark", "purpose")
    op.drop_column("benchmark", "run")
    for statement in _views_before().values():
        op.execute(statement)


def _views_before() -> dict[str, str]:
    """Return the views of 0004, which renamed a state in those of 0003."""
    views = {
        name: statement.replace("left_out", "skipped")
        for name, statement in context.script.get_revision("0003").module.REPLACED.items()
    }
    # What `SELECT *` in a view takes cannot be dropped, as the downgrade of 0004 does with columns of it.
    views["latency"] = views["latency"].replace(
        "SELECT * FROM runtime_check", "SELECT runtime_version, verdict, state, reason FROM runtime_check"
    )
    return views
