"""The page of a demonstration campaign: what was measured where, what went wrong, what helped, boots."""

import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.__main__ import processor
from device.lab import RunningWorker
from device.scenes import Scene
from integration.conftest import Cluster

#: Of each model, device and backend: the last verdict and its reasons.
_VERDICTS = """
SELECT DISTINCT ON (m.name, d.name, x.backend)
       m.name AS model, d.name AS device, x.backend, x.verdict, array_to_string(x.reasons, ', ') AS reasons
FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id JOIN device d ON d.id = x.device_id
JOIN conversion v ON v.id = b.conversion_id JOIN model m ON m.id = v.model_id
ORDER BY m.name, d.name, x.backend, x.id DESC
"""
_INCIDENTS = """
SELECT d.name AS device, i.fault, i.recovery_steps, i.healed,
       i.duration_ns / 1e9 AS seconds
FROM incident i JOIN device d ON d.id = i.device_id ORDER BY i.id
"""


def page(cluster: Cluster, workers: Iterable[RunningWorker], scenes: Sequence[Scene], summary: str) -> str:
    """Return the page as Markdown."""
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.release()}"
    return "\n\n".join(
        [
            "# A demonstration campaign on virtual devices",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {machine}. {summary}.",
            "No emulator and no phone was run: devices are those of `tests/device/rig`, with AOSP's adbd and "
            "the app itself in a JVM; a measurement's numbers are those of their simulated clock.",
            "## Models, devices and verdicts",
            _verdicts(cluster),
            "## What went wrong, and what helped",
            _faults(cluster, scenes),
            "## Boots of emulators",
            boots(workers),
        ]
    )


def _verdicts(cluster: Cluster) -> str:
    rows = cluster.rows(_VERDICTS)
    devices = sorted({row["device"] for row in rows})
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        reasons = f" ({row['reasons']})" if row["reasons"] else ""
        cells[row["model"], row["device"]].append(f"{row['backend']}: {row['verdict']}{reasons}")
    models = sorted({row["model"] for row in rows})
    lines = [[model[:40], *("; ".join(cells[model, device]) for device in devices)] for model in models]
    return _table(["model", *devices], lines)


def _faults(cluster: Cluster, scenes: Sequence[Scene]) -> str:
    incidents = cluster.rows(_INCIDENTS)
    lines = []
    for scene in scenes:
        own = [row for row in incidents if row["device"] == scene.device and row["fault"] in scene.faults]
        found = "; ".join(sorted({row["fault"] for row in own})) or scene.reason or "no incident"
        helped = "; ".join(sorted({row["recovery_steps"][-1] for row in own if row["recovery_steps"]}))
        times = [float(row["seconds"]) for row in own]
        healed = f"{sum(row['healed'] for row in own)} of {len(own)}" if own else ""
        lines.append([scene.description, found, helped, healed, f"{median(times):.1f}" if times else ""])
    others = sum(not any(_is_of(scene, row) for scene in scenes) for row in incidents)
    table = _table(["injected", "seen as", "helped", "healed", "median s"], lines)
    return f"{table}\n\nIncidents of none of these: {others}."


def _is_of(scene: Scene, incident: dict[str, object]) -> bool:
    return incident["device"] == scene.device and incident["fault"] in scene.faults


def boots(workers: Iterable[RunningWorker]) -> str:
    """Return a table of boots, from what the workers log when an emulator is ready."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for worker in workers:
        for event in _events(worker.log):
            if event.get("event") == "emulator ready":
                seconds[event["avd"], event["boot"]].append(event["seconds"])
    lines = [
        [avd, boot, f"{len(times)}", f"{median(times):.1f}", f"{max(times):.1f}"]
        for (avd, boot), times in sorted(seconds.items())
    ]
    return _table(["AVD", "boot", "times", "median s until ready", "longest"], lines)


def _events(log: Path) -> Iterable[dict[str, object]]:
    for line in log.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
