"""SQL of leases: one statement for each step, the same for all kinds of work.

The claiming statement also returns the payload, so that a task costs few round
trips. `leases` executes these.
"""

from functools import cache

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from nnlite.backends import CPU_BACKENDS, format_of
from nnlite.vocabulary import CAMPAIGN_KINDS, PASSES, ArtifactFormat, WorkKind

#: The seconds of each pass of a benchmark; null: it is not made.
_PASSES_S = ", ".join(
    f"'{name}', CASE WHEN {'w.run = 1' if first_only else 'true'} THEN c.request->'{name}' END"
    for name, first_only in PASSES.items()
)
#: Payload of a claim: columns and the joins that they come from.
_PAYLOAD = {
    WorkKind.CONVERSION: """
    m.name AS model, w.priority, m.model_format, w.identity, c.precisions, c.pools, c.backends,
    c.request->'calibration' AS calibration,
    coalesce(c.request->>'int8_io', 'float') AS int8_io, c.request->'evaluation' AS evaluation,
    coalesce(c.request->>'evaluate_on', 'host') AS evaluate_on,
    (c.settings #>> '{catalog,max_parameters}')::bigint AS max_parameters
FROM w JOIN model m ON m.id = w.model_id JOIN campaign c ON c.id = w.campaign_id
""",
    WorkKind.BENCHMARK: f"""
    m.name AS model, c.name AS campaign, w.conversion_id, w.pool, c.backends, c.mode,
    c.request->'threads' AS threads, w.run = 1 AND c.request ? 'profile' AS profile,
    jsonb_strip_nulls(jsonb_build_object({_PASSES_S})) AS passes, c.request->>'cores' AS cores,
    to_jsonb(a) AS artifact, to_jsonb(e) AS evaluation,
    coalesce(c.request->>'evaluate_on', 'host') AS evaluate_on
FROM w JOIN campaign c ON c.id = w.campaign_id JOIN artifact a ON a.id = w.artifact_id
JOIN conversion v ON v.id = w.conversion_id JOIN model m ON m.id = v.model_id
LEFT JOIN evaluation e ON e.artifact_id = a.id AND e.data = c.request #>> '{{evaluation,path}}'
""",
    WorkKind.RUNTIME_CHECK: """
    w.artifact_sha256, to_jsonb(a) AS artifact
FROM w CROSS JOIN LATERAL (
    SELECT * FROM artifact WHERE sha256 = w.artifact_sha256 ORDER BY created_at DESC LIMIT 1
) a
""",
}

#: Columns besides the stage that show the progress of a running attempt.
_PROGRESS = {WorkKind.CONVERSION: (), WorkKind.BENCHMARK: ("backend",), WorkKind.RUNTIME_CHECK: ()}


def _counted(outcome: str) -> str:
    return f"(SELECT count(*) FROM attempt a WHERE a.work_id = w.id AND a.outcome = '{outcome}')"  # noqa: S608


def _counters(kind: WorkKind) -> str:
    # A check involves no device that could be at fault: already its first failure is a strike.
    device = "1" if kind is WorkKind.RUNTIME_CHECK else _counted("device")
    infrastructure = _counted("infrastructure")
    return f"w.strikes, w.losses, {device} AS device_failures, {infrastructure} AS infrastructure_failures"


def _campaign_id(kind: WorkKind) -> str:
    return "w.campaign_id" if kind in CAMPAIGN_KINDS else "CAST(NULL AS uuid)"


@cache
def claim_row(kind: WorkKind) -> TextClause:
    table, active, further, passes_s = "", "", "0", "0"
    if kind in CAMPAIGN_KINDS:
        table, active = "FROM campaign c", "AND c.id = w.campaign_id AND c.state = 'active'"
    if kind is WorkKind.CONVERSION:
        further = "CASE WHEN c.request ? 'evaluation' THEN 1 ELSE 0 END"
    if kind is WorkKind.BENCHMARK:
        # Each number of threads on each of them.
        shared = ",".join(sorted(each for each in CPU_BACKENDS if format_of(each) is ArtifactFormat.TFLITE))
        of_file = f"SELECT unnest(c.backends) INTERSECT SELECT unnest(CAST('{{{shared}}}' AS text[]))"
        number = f"greatest(cardinality(ARRAY({of_file})), 1)"
        further = f"coalesce(greatest(jsonb_array_length(c.request->'threads') - 1, 0) * {number}, 0)"
        # A pass takes its seconds, and at most as long as a measurement besides.
        each_s = " + ".join(
            f"CASE WHEN c.request ? '{name}' THEN (c.request->>'{name}')::integer + :further ELSE 0 END"
            for name in PASSES
        )
        passes_s = f"(cardinality(c.backends) + {further}) * ({each_s})"
        # The accuracy of each backend.
        further += " + CASE WHEN c.request ? 'evaluate_on' THEN cardinality(c.backends) ELSE 0 END"
    return text(f"""
WITH w AS (
    UPDATE {kind} w
    SET state = 'running', attempt = w.attempt + 1, owner_node = :node, owner_instance = :instance,
        lease_until = now() + make_interval(secs => :lease),
        deadline = now() + make_interval(secs => :deadline + :further * ({further}) + {passes_s}),
        stage = 'claim', {cleared(kind)}failure_class = NULL, reason = NULL,
        started_at = now(), finished_at = NULL
    {table}
    WHERE w.id = :id AND w.state = 'queued' AND w.available_at <= now() {active}
    RETURNING w.*
), noted AS (
    INSERT INTO attempt (kind, work_id, campaign_id, number, owner_node, owner_instance)
    SELECT '{kind}', id, {_campaign_id(kind)}, attempt, :node, :instance FROM w
)
SELECT w.id, {_campaign_id(kind)} AS campaign_id, w.attempt, {_counters(kind)},
    extract(epoch FROM w.deadline - now())::float8 AS deadline_s, {_PAYLOAD[kind]}
""")  # noqa: S608  (kind is a word of an enum, here and below)


@cache
def renew_lease(kind: WorkKind) -> TextClause:
    noted = ", ".join(f"{name} = coalesce(:{name}, {name})" for name in ("stage", *_PROGRESS[kind]))
    return text(f"""
UPDATE {kind}
SET lease_until = least(now() + make_interval(secs => :lease), deadline), {noted}
WHERE id = :id AND state = 'running' AND attempt = :attempt
""")  # noqa: S608


@cache
def end_attempt(kind: WorkKind) -> TextClause:
    return text(f"""
WITH w AS (
    UPDATE {kind}
    SET state = :state, strikes = :strikes, losses = :losses,
        available_at = now() + make_interval(secs => :pause),
        owner_node = NULL, owner_instance = NULL, lease_until = NULL, deadline = NULL,
        stage = coalesce(:stage, stage), {cleared(kind)}failure_class = :failure_class, reason = :reason,
        finished_at = CASE WHEN :state = 'queued' THEN NULL ELSE now() END
    WHERE id = :id AND state = 'running' AND attempt = :attempt
    RETURNING id, stage
)
UPDATE attempt
SET ended_at = now(), outcome = :outcome, stage = w.stage, reason = :reason, details = :details
FROM w WHERE attempt.work_id = w.id AND attempt.number = :attempt
""").bindparams(bindparam("details", type_=JSONB(none_as_null=True)))  # noqa: S608


@cache
def running_rows(kind: WorkKind, condition: str) -> TextClause:
    return text(f"""
SELECT w.id, {_campaign_id(kind)} AS campaign_id, w.attempt, w.owner_instance, w.stage,
    w.lease_until < now() AS lease_ended, {_counters(kind)}
FROM {kind} w WHERE state = 'running' AND {condition} FOR UPDATE OF w SKIP LOCKED
""")  # noqa: S608


@cache
def node_rows(kind: WorkKind) -> TextClause:
    return text(f"SELECT FROM {kind} WHERE state = 'running' AND owner_node = :node LIMIT 1")


@cache
def rows_to_send(kind: WorkKind) -> TextClause:
    pool, source = {
        WorkKind.CONVERSION: ("NULL", "model m WHERE m.id = w.model_id"),
        WorkKind.BENCHMARK: (
            "w.pool",
            "conversion v JOIN model m ON m.id = v.model_id WHERE v.id = w.conversion_id",
        ),
    }[kind]
    return text(f"""
WITH sent AS (
    UPDATE {kind} w SET sent_at = now() FROM {source} AND w.id = ANY(:ids)
    RETURNING w.id, w.priority, w.created_at, m.name AS model, {pool} AS pool
)
SELECT * FROM sent ORDER BY priority DESC, created_at, id
""")  # noqa: S608


def cleared(kind: WorkKind) -> str:
    """Return the assignments that clear the progress columns of a row; each ends with a comma."""
    return "".join(f"{name} = NULL, " for name in _PROGRESS[kind])
