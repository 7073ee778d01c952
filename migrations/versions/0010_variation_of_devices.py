"""Compare repeated measurements: duplicates, variation of devices, intervals, suspect devices"""

from alembic import context, op

revision = "0010"
down_revision = "0009"

#: Valid runs of one artifact on one device and backend, each with the one before it, in any campaign of the
#: same mode and number of threads. Half widths are relative to the median; `difference` is the absolute value
#: of the logarithm of the ratio of the medians.
DEVICE_DUPLICATE = """
CREATE VIEW device_duplicate AS
WITH run AS (
    SELECT x.id, x.device_id, x.backend, b.artifact_id, c.mode,
           c.settings #>> '{measurement,threads}' AS threads, x.created_at, x.median_ns,
           coalesce(x.median_high_ns - x.median_low_ns, 0) / 2.0 / x.median_ns AS half_width
    FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id JOIN campaign c ON c.id = b.campaign_id
    WHERE x.verdict = 'valid' AND x.median_ns > 0
), pair AS (
    SELECT *, lag(id) OVER earlier AS earlier_id, lag(created_at) OVER earlier AS earlier_at,
           lag(median_ns) OVER earlier AS earlier_median_ns,
           lag(half_width) OVER earlier AS earlier_half_width
    FROM run
    WINDOW earlier AS (PARTITION BY device_id, backend, artifact_id, threads, mode ORDER BY created_at, id)
), compared AS (
    SELECT *, abs(ln(median_ns::float8 / earlier_median_ns)) AS difference,
           (created_at AT TIME ZONE 'UTC')::date = (earlier_at AT TIME ZONE 'UTC')::date AS same_day
    FROM pair WHERE earlier_id IS NOT NULL
), spread AS (
    -- Of a difference of two runs the median absolute value is 0.6745 x sqrt(2) standard deviations of one.
    SELECT device_id, backend, percentile_cont(0.5) WITHIN GROUP (ORDER BY difference) / 0.9539 AS std
    FROM compared WHERE same_day GROUP BY device_id, backend HAVING count(*) >= 5
)
SELECT p.device_id, p.backend, p.artifact_id, p.earlier_id, p.id AS later_id, p.earlier_at, p.created_at,
       p.earlier_median_ns, p.median_ns, p.difference, p.same_day, s.std AS between_runs,
       -- Beyond both intervals, with the part between runs where it is known; never for less than 5 %.
       p.difference <= greatest(
           0.05, sqrt(p.half_width ^ 2 + p.earlier_half_width ^ 2 + 2 * (1.96 * coalesce(s.std, 0)) ^ 2)
       ) AS agrees
FROM compared p LEFT JOIN spread s ON s.device_id = p.device_id AND s.backend = p.backend
"""

#: From the last agreement before a disagreement to that disagreement, or without end if none followed.
SUSPECT_SPAN = """
CREATE VIEW suspect_span AS
SELECT device_id, since, CASE WHEN next_at IS NULL THEN 'infinity' ELSE created_at END AS until
FROM (
    SELECT device_id, created_at, agrees,
           lag(created_at, 1, '-infinity') OVER in_time AS since, lead(created_at) OVER in_time AS next_at
    FROM device_duplicate WINDOW in_time AS (PARTITION BY device_id ORDER BY created_at, later_id)
) duplicate
WHERE NOT agrees
"""

DEVICE_VARIATION = """
CREATE VIEW device_variation AS
WITH within AS (
    SELECT device_id, backend, count(*) AS runs,
           percentile_cont(0.5) WITHIN GROUP (
               ORDER BY (median_high_ns - median_low_ns) / 2.0 / median_ns / 1.96
           ) AS std
    FROM measurement WHERE verdict = 'valid' AND median_ns > 0 GROUP BY device_id, backend
), across AS (
    SELECT device_id, backend, max(between_runs) AS between_runs,
           count(*) FILTER (WHERE same_day) AS pairs,
           count(*) FILTER (WHERE NOT same_day) AS pairs_between_days,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY difference) FILTER (WHERE NOT same_day) / 0.9539
               AS between_days,
           count(*) FILTER (WHERE NOT agrees) AS disagreements,
           max(created_at) FILTER (WHERE agrees) AS agreed_at
    FROM device_duplicate GROUP BY device_id, backend
)
SELECT d.name AS device, d.pool, w.backend, w.runs, w.std AS within_run, a.between_runs, a.between_days,
       coalesce(a.pairs, 0) AS pairs, coalesce(a.pairs_between_days, 0) AS pairs_between_days,
       coalesce(a.disagreements, 0) AS disagreements, a.agreed_at,
       EXISTS (SELECT FROM suspect_span s WHERE s.device_id = w.device_id AND s.until = 'infinity') AS suspect
FROM within w JOIN device d ON d.id = w.device_id
LEFT JOIN across a ON a.device_id = w.device_id AND a.backend = w.backend
"""

#: The part between runs widens the interval of a run where it is known.
HALF_WIDTH = """sqrt(
    (coalesce(x.median_high_ns - x.median_low_ns, 0) / 2.0 / nullif(x.median_ns, 0)) ^ 2 + (1.96 * y.std) ^ 2
)"""
#: Columns of the view `measurement_run`: before, after.
COLUMNS = (
    (
        "b.run, b.purpose, r.best",
        f"""b.run, b.purpose, r.best, r.valid_runs, y.std AS between_runs,
       coalesce(round(x.median_ns * (1 - {HALF_WIDTH}))::bigint, x.median_low_ns) AS interval_low_ns,
       coalesce(round(x.median_ns * (1 + {HALF_WIDTH}))::bigint, x.median_high_ns) AS interval_high_ns,
       s.device_id IS NOT NULL AS suspect""",
    ),
    (
        ") = 1 AS best",
        """) = 1 AS best,
           count(*) FILTER (WHERE x.verdict = 'valid') OVER (
               PARTITION BY b.campaign_id, b.artifact_id, b.pool, x.backend
           ) AS valid_runs""",
    ),
    (
        "JOIN device d ON d.id = x.device_id",
        """JOIN device d ON d.id = x.device_id
LEFT JOIN (
    SELECT device_id, backend, max(between_runs) AS std FROM device_duplicate GROUP BY device_id, backend
) y ON y.device_id = x.device_id AND y.backend = x.backend
-- Spans of a device do not overlap. A join, because an EXISTS here would be evaluated for each row.
LEFT JOIN suspect_span s
    ON s.device_id = x.device_id AND x.created_at > s.since AND x.created_at <= s.until""",
    ),
)
NEW_VIEWS = {
    "device_duplicate": DEVICE_DUPLICATE,
    "suspect_span": SUSPECT_SPAN,
    "device_variation": DEVICE_VARIATION,
}


def views() -> dict[str, str]:
    """Return the views of results as of this revision, in order of creation."""
    views = _views_before()
    for before, after in COLUMNS:
        views["measurement_run"] = views["measurement_run"].replace(before, after)
    return views


def upgrade() -> None:
    op.execute("DROP VIEW latency")
    op.execute("DROP VIEW measurement_run")
    for statement in NEW_VIEWS.values():
        op.execute(statement)
    op.execute(views()["measurement_run"])
    op.execute(views()["latency"])


def downgrade() -> None:
    op.execute("DROP VIEW latency")
    op.execute("DROP VIEW measurement_run")
    for name in reversed(NEW_VIEWS):
        op.execute(f"DROP VIEW {name}")
    op.execute(_views_before()["measurement_run"])
    op.execute(_views_before()["latency"])


def _views_before() -> dict[str, str]:
    return dict(context.script.get_revision(down_revision).module.views())
