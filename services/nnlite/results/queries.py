"""Queries of the results for commands; each returns a list of plain rows.

The views in the migrations hold the joins, so that people can ask the same in SQL.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from nnlite.results.reading import Database, Row, like, rows_of
from nnlite.vocabulary import TELLING_LATENCY


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a campaign: counts of its models and artifacts by state.

    An artifact counts once for each pool, however often it is measured there; those that are queued and
    running are counted by runs.
    """

    name: str
    #: `active`, `paused`, `cancelled` (`CampaignState`), or `ended`: active, and nothing is left to do.
    state: str
    models: int
    converted: int
    from_cache: int
    conversions_queued: int
    converting: int
    conversions_failed: int
    conversions_quarantined: int
    skipped: int
    conversions_cancelled: int
    #: Precisions that failed of models with other artifacts.
    precisions_refused: int
    benchmarks: int
    #: Models with a benchmark that is queued or running.
    models_measuring: int
    measured: int
    benchmarks_queued: int
    measuring: int
    benchmarks_failed: int
    benchmarks_quarantined: int
    benchmarks_cancelled: int
    #: Artifacts that have a result and are being measured again, or will be.
    repeating: int
    #: Nothing is queued or running.
    ended: bool
    #: Who submitted it; None: unknown.
    submitted_by: str | None = None

    @property
    def remaining(self) -> int:
        """Models waiting for a conversion or a benchmark."""
        return self.conversions_queued + self.converting + self.models_measuring

    @property
    def finished(self) -> int:
        """Models without remaining work."""
        return self.models - self.remaining

    @property
    def failed(self) -> int:
        """Rows that ended without a result and were not cancelled."""
        return (
            self.conversions_failed
            + self.conversions_quarantined
            + self.benchmarks_failed
            + self.benchmarks_quarantined
        )

    def as_dict(self) -> Row:
        """Return the counts, derived ones too."""
        return asdict(self) | {"finished": self.finished, "remaining": self.remaining, "failed": self.failed}


def campaigns(database: Database, name: str | None = None) -> list[Progress]:
    """Return the progress of every campaign, newest first, or of the named one."""
    columns = ", ".join(Progress.__dataclass_fields__)
    statement = f"""
SELECT {columns} FROM campaign_progress JOIN (SELECT id, submitted_by FROM campaign) c USING (id)
WHERE CAST(:name AS text) IS NULL OR name = :name ORDER BY created_at DESC
"""  # noqa: S608
    return [Progress(**row) for row in rows_of(database, statement, {"name": name})]


def description(database: Database, name: str) -> Row:
    """Return what a campaign was asked for, and when."""
    (row,) = rows_of(
        database,
        """
SELECT c.name, c.state, c.priority, c.request, c.settings, c.created_at, c.submitted_by,
       c.hooks_run_at, c.hooks_problem,
       (SELECT count(*) FROM conversion v WHERE v.campaign_id = c.id) AS models
FROM campaign c WHERE c.name = :name
""",
        {"name": name},
    )
    return row


def latencies(
    database: Database,
    campaign: str | None = None,
    model: str | None = None,
    param_limit: int | None = None,
    *,
    verdicts: Sequence[str] = (),
    precisions: Sequence[str] = (),
    pools: Sequence[str] = (),
) -> list[Row]:
    """Return the best measurement of each artifact, pool, backend and number of threads of a campaign.

    Args:
        model: a pattern, where `*` matches anything.
        param_limit: most parameters for which efficiency counts; None: that of each campaign's settings.
        verdicts, precisions, pools: only these; empty: all.
    """
    rows = rows_of(
        database,
        """
SELECT * FROM latency
WHERE (CAST(:campaign AS text) IS NULL OR campaign = :campaign)
  AND (CAST(:model AS text) IS NULL OR model LIKE :model)
  AND (CAST(:verdicts AS text[]) = '{}' OR verdict = ANY(CAST(:verdicts AS text[])))
  AND (CAST(:precisions AS text[]) = '{}' OR precision = ANY(CAST(:precisions AS text[])))
  AND (CAST(:pools AS text[]) = '{}' OR pool = ANY(CAST(:pools AS text[])))
ORDER BY campaign, model, precision, pool, backend, threads
""",
        {
            "campaign": campaign,
            "model": like(model),
            "verdicts": [*verdicts],
            "precisions": [*precisions],
            "pools": [*pools],
        },
    )
    if param_limit is not None:
        for row in rows:
            row["param_gate_ok"] = None if row["parameters"] is None else row["parameters"] <= param_limit
    return rows


def verdicts(database: Database, campaign: str) -> list[Row]:
    """Return how many results of a campaign have each verdict, reasons and cause: the most frequent first."""
    return rows_of(
        database,
        """
SELECT verdict, reasons, noise_cause, count(*) AS measurements, min(interval_pairs) AS interval_pairs
FROM latency WHERE campaign = :campaign GROUP BY 1, 2, 3 ORDER BY measurements DESC, 1, 2, 3
""",
        {"campaign": campaign},
    )


def runtime_checks(database: Database, campaign: str | None = None, model: str | None = None) -> list[Row]:
    """Return one row per artifact and version of the phones' runtime that checked it.

    Arguments as for `latencies`.
    """
    return rows_of(
        database,
        """
SELECT DISTINCT c.name AS campaign, m.name AS model, a.precision, k.runtime_version,
       coalesce(k.verdict, k.state) AS runtime_check, k.operator, k.operator_version, k.reason, k.attempt
FROM runtime_check k
JOIN artifact a ON a.sha256 = k.artifact_sha256
JOIN conversion v ON v.identity = a.identity AND v.state <> 'skipped'
JOIN campaign c ON c.id = v.campaign_id AND a.precision = ANY(c.precisions)
JOIN model m ON m.id = v.model_id
WHERE (CAST(:campaign AS text) IS NULL OR c.name = :campaign)
  AND (CAST(:model AS text) IS NULL OR m.name LIKE :model)
ORDER BY runtime_version, campaign, model, precision
""",
        {"campaign": campaign, "model": like(model)},
    )


def reports(database: Database, campaign: str | None = None, model: str | None = None) -> list[Row]:
    """Return the enriched report of every benchmark that has one; arguments as for `latencies`."""
    rows = rows_of(
        database,
        """
SELECT b.report FROM benchmark b JOIN campaign c ON c.id = b.campaign_id
JOIN conversion v ON v.id = b.conversion_id JOIN model m ON m.id = v.model_id
WHERE b.report IS NOT NULL AND (CAST(:campaign AS text) IS NULL OR c.name = :campaign)
  AND (CAST(:model AS text) IS NULL OR m.name LIKE :model)
ORDER BY c.name, m.name, b.run, b.id
""",
        {"campaign": campaign, "model": like(model)},
    )
    reports = [row["report"] for row in rows]
    for measured in (one for report in reports for one in report["measurements"]):
        if measured.get("latency") is None:  # those of older releases have the numbers
            measured |= {name: None for name in TELLING_LATENCY if name in measured}
    return reports


def failures(database: Database, campaign: str | None = None) -> list[Row]:
    """Return one row per model or precision that has no result, with class, stage and reason.

    Skipped models are included, and so are the precisions that a conversion could not make (`refused`).
    """
    return rows_of(
        database,
        """
SELECT c.name AS campaign, m.name AS model, w.precision, w.work, w.state, w.failure_class AS class, w.stage,
       w.reason, w.attempt AS attempts, w.strikes, w.losses, coalesce(w.details, a.details) AS details
FROM (
    SELECT 'conversion' AS work, id, id AS conversion_id, NULL AS precision, campaign_id, state,
           failure_class, stage, reason, attempt, strikes, losses, NULL::jsonb AS details
    FROM conversion
    UNION ALL
    SELECT 'benchmark', b.id, b.conversion_id, f.precision, b.campaign_id, b.state, b.failure_class, b.stage,
           b.reason, b.attempt, b.strikes, b.losses, NULL
    FROM benchmark b JOIN artifact f ON f.id = b.artifact_id
    WHERE NOT EXISTS (
        SELECT FROM benchmark r WHERE r.campaign_id = b.campaign_id AND r.artifact_id = b.artifact_id
                                  AND r.pool = b.pool AND r.state = 'done'
    )
    UNION ALL
    SELECT 'conversion', v.id, v.id, p.precision, v.campaign_id, 'refused', p.failure_class, p.stage,
           p.reason, v.attempt, v.strikes, v.losses, p.details
    FROM refused_precision p JOIN conversion v ON v.id = p.conversion_id
) w
JOIN conversion v ON v.id = w.conversion_id
JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = w.campaign_id
LEFT JOIN attempt a ON a.work_id = w.id AND a.number = w.attempt
WHERE w.state IN ('failed', 'quarantined', 'skipped', 'refused')
  AND (CAST(:campaign AS text) IS NULL OR c.name = :campaign)
ORDER BY c.name, w.state, w.failure_class, m.name, w.precision
""",
        {"campaign": campaign},
    )


def running(database: Database, campaign: str) -> list[Row]:
    """Return running work: kind, model, device, backend, stage, worker and duration."""
    return rows_of(
        database,
        """
SELECT w.work, m.name AS model, d.name AS device, w.backend, w.stage, w.owner_node AS worker, w.attempt,
       extract(epoch FROM now() - w.started_at)::float8 AS seconds
FROM (
    SELECT 'conversion' AS work, id AS conversion_id, campaign_id, state, stage, owner_node, attempt,
           started_at, NULL AS backend
    FROM conversion
    UNION ALL
    SELECT 'benchmark', conversion_id, campaign_id, state, stage, owner_node, attempt, started_at, backend
    FROM benchmark
) w
JOIN conversion v ON v.id = w.conversion_id
JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = w.campaign_id
LEFT JOIN LATERAL (
    SELECT name FROM device WHERE owner_node = w.owner_node AND w.work = 'benchmark'
    ORDER BY seen_at DESC LIMIT 1
) d ON true
WHERE w.state = 'running' AND c.name = :campaign ORDER BY w.started_at
""",
        {"campaign": campaign},
    )


def devices(database: Database) -> list[Row]:
    """Return one row per known device, by name: state, owner, last canary, change and incident, variation.

    The change is the last one of the configuration in which the device ran its last canary.
    """
    return rows_of(
        database,
        """
SELECT o.*, v.between_runs, v.between_days, coalesce(v.suspect, false) AS suspect,
       h.before_ns AS canary_before_ns, h.since AS canary_changed_at, h.reopened AS canary_reopened
FROM device_overview o LEFT JOIN LATERAL (
    SELECT * FROM device_canary_change c WHERE c.device = o.device AND c.configuration = (
        SELECT configuration FROM device_canary WHERE device_id = c.device_id ORDER BY id DESC LIMIT 1
    ) ORDER BY c.change_id DESC LIMIT 1
) h ON true LEFT JOIN (
    SELECT device, max(between_runs) AS between_runs, max(between_days) AS between_days,
           bool_or(suspect) AS suspect
    FROM device_variation GROUP BY device
) v ON v.device = o.device
ORDER BY o.device
""",
        {},
    )


def incidents(database: Database, device: str | None = None, limit: int | None = None) -> list[Row]:
    """Return incidents and their recovery, newest first."""
    return rows_of(
        database,
        """
SELECT * FROM device_incident WHERE CAST(:device AS text) IS NULL OR device = :device
ORDER BY created_at DESC, incident_id DESC LIMIT :limit
""",
        {"device": device, "limit": limit},
    )
