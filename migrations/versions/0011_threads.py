"""One measurement for each number of threads, and never two of them compared"""

import sqlalchemy as sa
from alembic import context, op

revision = "0011"
down_revision = "0010"

#: Of existing measurements: as reported, else as the campaign's settings were.
THREADS = """
UPDATE measurement x SET threads = coalesce(
    (SELECT (one->>'threads')::bigint FROM jsonb_array_elements(b.report->'measurements') one
     WHERE one->>'backend' = x.backend LIMIT 1),
    (c.settings #>> '{measurement,threads}')::bigint, 1)
FROM benchmark b JOIN campaign c ON c.id = b.campaign_id WHERE b.id = x.benchmark_id
"""
#: Earlier releases store one measurement of a backend: that with the fewest threads.
DELETE_FURTHER = """
DELETE FROM measurement x USING measurement o
WHERE o.benchmark_id = x.benchmark_id AND o.backend = x.backend AND o.threads < x.threads
"""
TRIM_REPORTS = """
UPDATE benchmark b SET report = jsonb_set(report, '{measurements}', (
    SELECT jsonb_agg(one) FROM (
        SELECT DISTINCT ON (one->>'backend') one FROM jsonb_array_elements(report->'measurements') one
        ORDER BY one->>'backend', (one->>'threads')::bigint
    ) fewest
)) FROM campaign c WHERE c.id = b.campaign_id AND c.request ? 'threads' AND b.report IS NOT NULL
"""
#: In the views of results, in order of creation: before, after.
IN_VIEWS = {
    "device_duplicate": (
        ("c.settings #>> '{measurement,threads}' AS threads,", "x.threads,"),
        ("SELECT device_id, backend, percentile_cont", "SELECT device_id, backend, threads, percentile_cont"),
        ("GROUP BY device_id, backend HAVING", "GROUP BY device_id, backend, threads HAVING"),
        ("SELECT p.device_id, p.backend,", "SELECT p.device_id, p.backend, p.threads,"),
        ("s.backend = p.backend", "s.backend = p.backend AND s.threads = p.threads"),
    ),
    "suspect_span": (),
    "device_variation": (
        ("SELECT device_id, backend,", "SELECT device_id, backend, threads,"),
        ("GROUP BY device_id, backend", "GROUP BY device_id, backend, threads"),
        ("w.backend,", "w.backend, w.threads,"),
        ("a.backend = w.backend", "a.backend = w.backend AND a.threads = w.threads"),
    ),
    "measurement_run": (
        ("d.kind, b.pool, x.backend,", "d.kind, b.pool, x.backend, x.threads,"),
        ("b.artifact_id, b.pool, x.backend\n", "b.artifact_id, b.pool, x.backend, x.threads\n"),
        (
            "SELECT device_id, backend, max(between_runs) AS std FROM device_duplicate "
            "GROUP BY device_id, backend",
            "SELECT device_id, backend, threads, max(between_runs) AS std FROM device_duplicate\n"
            "    GROUP BY device_id, backend, threads",
        ),
        ("y.backend = x.backend", "y.backend = x.backend AND y.threads = x.threads"),
    ),
    "latency": (),
}
UNIQUE = "uq_measurement_benchmark_id_backend"


def views() -> dict[str, str]:
    """Return the views of results as of this revision, in order of creation."""
    views = _views_before()
    for name, replacements in IN_VIEWS.items():
        for before, after in replacements:
            views[name] = views[name].replace(before, after)
    return views


def upgrade() -> None:
    _drop_views()
    op.add_column("measurement", sa.Column("threads", sa.BigInteger(), nullable=True))
    op.execute(THREADS)
    op.alter_column("measurement", "threads", nullable=False)
    op.drop_constraint(UNIQUE, "measurement")
    op.create_unique_constraint(f"{UNIQUE}_threads", "measurement", ["benchmark_id", "backend", "threads"])
    _create(views())


def downgrade() -> None:
    _drop_views()
    op.execute(DELETE_FURTHER)
    op.execute(TRIM_REPORTS)
    op.drop_constraint(f"{UNIQUE}_threads", "measurement")
    op.create_unique_constraint(UNIQUE, "measurement", ["benchmark_id", "backend"])
    op.drop_column("measurement", "threads")
    _create(_views_before())


def _drop_views() -> None:
    for name in reversed(IN_VIEWS):
        op.execute(f"DROP VIEW {name}")


def _create(views: dict[str, str]) -> None:
    for name in IN_VIEWS:
        op.execute(views[name])


def _views_before() -> dict[str, str]:
    module = context.script.get_revision(down_revision).module
    return {**module.NEW_VIEWS, **module.views()}
