"""What the tracker of NN-GPT is made from: models, measurements, artifacts and refusals."""

_WANTED = "(cardinality(CAST(:campaigns AS text[])) = 0 OR c.name = ANY(:campaigns))"

# A folder without code is not a model; NN-GPT does not count it either.
MODELS = f"""
SELECT v.id, m.name AS model, k.text AS code, m.model_format, m.identity, m.accuracy, m.parameters,
       m.dataset, m.input_shape, v.state, v.stage, v.reason, c.request, b.reason AS benchmark_reason,
       a.input_shape AS artifact_shape
FROM conversion v
JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = v.campaign_id
LEFT JOIN code k ON k.sha256 = m.code_sha256
LEFT JOIN LATERAL (
    SELECT reason FROM benchmark
    WHERE conversion_id = v.id AND state IN ('failed', 'quarantined') AND purpose <> 'reproduce' LIMIT 1
) b ON true
LEFT JOIN LATERAL (SELECT input_shape FROM artifact WHERE identity = m.identity LIMIT 1) a ON true
WHERE m.source = :source AND (coalesce(k.text, '') <> '' OR m.model_format = 'prebuilt') AND {_WANTED}
ORDER BY v.created_at DESC, m.name
"""  # noqa: S608

MEASUREMENTS = f"""
SELECT a.identity, a.precision, b.pool, d.name AS device, d.kind, x.backend, x.threads, x.verdict, x.reasons,
       x.noise_cause, x.error, x.median_ns, c.mode
FROM measurement x
JOIN benchmark b ON b.id = x.benchmark_id
JOIN campaign c ON c.id = b.campaign_id
JOIN artifact a ON a.id = b.artifact_id
JOIN device d ON d.id = x.device_id
WHERE a.identity = ANY(:identities) AND b.purpose <> 'reproduce' AND {_WANTED}
ORDER BY x.created_at DESC
"""  # noqa: S608

REFUSALS = (
    "SELECT conversion_id, precision, reason FROM refused_precision WHERE conversion_id = ANY(:conversions)"
)
ARTIFACTS = """
SELECT identity, precision, path, parity_state FROM artifact
WHERE identity = ANY(:identities) AND path LIKE '%.tflite'
"""
