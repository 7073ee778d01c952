"""Checks after the demonstration campaign: nothing lost or doubled, all devices recovered, all exported."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from device.scenes import Scene
from integration.conftest import Cluster
from nnlite.exports.lemur_tree import CATALOGUE, TREE

#: Rows that are not as they should be, each as one line.
_OBJECTIONS = {
    "is not final": """
SELECT 'the ' || w.work || ' of ' || m.name || ' (' || w.state || ')' FROM (
    SELECT 'conversion' AS work, model_id, state FROM conversion
    UNION ALL
    SELECT 'benchmark', v.model_id, b.state FROM benchmark b JOIN conversion v ON v.id = b.conversion_id
) w JOIN model m ON m.id = w.model_id WHERE w.state NOT IN ('done', 'failed', 'skipped')
""",
    "has no benchmark": """
SELECT m.name || ' of campaign ' || c.name FROM conversion v JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = v.campaign_id
WHERE v.state = 'done' AND NOT EXISTS (
    SELECT FROM benchmark b JOIN artifact a ON a.id = b.artifact_id
    WHERE b.campaign_id = v.campaign_id AND a.identity = v.identity
)
""",
    "was done twice": """
SELECT work_id::text FROM attempt WHERE outcome = 'done' GROUP BY work_id HAVING count(*) > 1
""",
    "was converted twice": """
SELECT identity || ' ' || precision FROM artifact GROUP BY identity, precision HAVING count(*) > 1
""",
    "has two benchmarks in one campaign": """
SELECT m.name FROM benchmark b JOIN conversion v ON v.id = b.conversion_id JOIN model m ON m.id = v.model_id
GROUP BY b.campaign_id, m.name, b.artifact_id, b.pool HAVING count(*) > 1
""",
    "was measured twice or never": """
SELECT m.name || ' on ' || asked FROM benchmark b
JOIN conversion v ON v.id = b.conversion_id JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = b.campaign_id
CROSS JOIN LATERAL unnest(c.backends) AS asked
WHERE b.state = 'done'
  AND (SELECT count(*) FROM measurement x WHERE x.benchmark_id = b.id AND x.backend = asked) <> 1
""",
    "was published without a run of its own": """
SELECT b.id::text FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id
WHERE x.verdict <> 'invalid' AND (x.mean_ns IS NULL OR x.runs < 5)
""",
    "is not healed": """
SELECT d.name || ': ' || i.fault FROM incident i JOIN device d ON d.id = i.device_id WHERE NOT i.healed
""",
    "is not ready": "SELECT name || ' (' || state || ')' FROM device WHERE state <> 'ready'",
}


def objections(cluster: Cluster) -> list[str]:
    """Return what is wrong in the rows, one line each."""
    return [
        f"{next(iter(row.values()))} {complaint}"
        for complaint, statement in _OBJECTIONS.items()
        for row in cluster.rows(statement)
    ]


def unseen(cluster: Cluster, scenes: Iterable[Scene]) -> list[str]:
    """Return the scenes of which neither an incident nor a measurement tells as it should."""
    incidents = {
        (row["name"], row["fault"])
        for row in cluster.rows("SELECT name, fault FROM incident JOIN device d ON d.id = device_id")
    }
    reasons = {row["reason"] for row in cluster.rows("SELECT unnest(reasons) AS reason FROM measurement")}
    problems = []
    for scene in scenes:
        if not scene.done:
            problems.append(f"this did not happen: {scene.description}")
        elif scene.faults and not any((scene.device, fault) in incidents for fault in scene.faults):
            problems.append(f"there is no incident of {scene.device} for this: {scene.description}")
        elif scene.reason is not None and scene.reason not in reasons:
            problems.append(f"no measurement has this reason ({scene.reason}): {scene.description}")
    return problems


def exported_files(root: Path) -> list[Path]:
    """Return the results of an exported tree."""
    return sorted(file for file in (root / TREE).rglob("*.json") if file.name != CATALOGUE)


def wrongly_exported(cluster: Cluster, root: Path) -> list[str]:
    """Return what is wrong with an exported tree, one line each."""
    measured = cluster.rows("""
SELECT DISTINCT m.name AS model, d.name AS device FROM measurement x JOIN device d ON d.id = x.device_id
JOIN benchmark b ON b.id = x.benchmark_id JOIN artifact a ON a.id = b.artifact_id
JOIN conversion v ON v.campaign_id = b.campaign_id AND v.identity = a.identity
JOIN model m ON m.id = v.model_id
""")
    wanted = {(row["model"], row["device"]) for row in measured}
    records = {file: json.loads(file.read_bytes()) for file in exported_files(root)}
    written = {
        (record["model_name"], record["device_analytics"]["nnlite"]["device"]["name"])
        for record in records.values()
    }
    problems = [f"{model} on {device} was not exported" for model, device in sorted(wanted - written)]
    if len(records) != len(wanted):
        problems.append(f"{len(records)} files were exported for {len(wanted)} pairs of model and device")
    means = {row["mean_ns"] for row in cluster.rows("SELECT mean_ns FROM measurement")}
    for file, record in records.items():
        problems += [f"{file.name} of {record['model_name']}: {words}" for words in _wrong(record, means)]
    return problems


def _wrong(record: dict[str, Any], means: set[int | None]) -> list[str]:
    problems = []
    emulated = record["device_analytics"]["nnlite"]["device"]["name"].startswith("avd:")
    if record["device_type"] != "rig" or record["emulator"] is not emulated:
        problems.append("does not say that it comes from the rig")
    if record["duration"] not in means:
        problems.append(f"its duration {record['duration']} was never measured")
    if record["valid"] and record["duration"] is None:
        problems.append("is valid without a duration")
    return problems
