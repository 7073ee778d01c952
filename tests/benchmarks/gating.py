"""How far two measurements of one model differ, and how many are valid: gated, ungated, and in small pages.

The same random LEMUR models in several rounds, each measured in every way of `WAYS`, in
a process of its own and in random order, so that all ways meet the same neighbours. As
in a campaign, what is not valid is measured again at the end of its round, up to
`REPEATS` times, and the best verdict counts, then the newest.
`python tests/benchmarks/gating.py [MODELS [ROUNDS [WAY...]]]` prints the figures.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from nnlite.artifacts.store import open_store
from nnlite.db.engine import engine_for
from nnlite.db.rows import from_row
from nnlite.db.tables import Artifact
from nnlite.local import servers
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Verdict
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.jobs import job_of

MODELS = 12
ROUNDS = 2
REPEATS = Settings().measurement.noisy_repeats
SEED = 11
#: Settings of each way to measure.
WAYS = {
    "small_pages": {"gated": False, "huge_pages": False},
    "ungated": {"gated": False},
    "gated": {"gated": True},
}
#: Less than by default, so that the benchmark takes some ten minutes on a busy machine.
MAX_S = 15.0
_TIMEOUT_S = 1800
#: A campaign whose measurements nobody looks at.
_QUICK = {
    "NNLITE_MEASUREMENT__GATED": "false",
    "NNLITE_MEASUREMENT__MIN_RUNS": "5",
    "NNLITE_MEASUREMENT__MIN_S": "0",
    "NNLITE_MEASUREMENT__WARMUP_MIN_S": "0",
    "NNLITE_MEASUREMENT__NOISY_REPEATS": "0",
}
_ARTIFACTS = text("SELECT to_jsonb(a) FROM artifact a ORDER BY cache_key")

#: (round, model) -> median in nanoseconds and verdict of the last try, seconds of all.
Results = dict[tuple[int, int], tuple[int, Verdict, float]]


def run(
    models: int = MODELS,
    rounds: int = ROUNDS,
    ways: Sequence[str] = tuple(WAYS),
    jobs: Sequence[BenchmarkJob] = (),
    **settings: Any,
) -> dict[str, Any]:
    """Return the figures of each way to measure.

    Args:
        models: number of random models.
        rounds: how often each is measured in each way.
        ways: names of `WAYS`.
        jobs: what to measure instead of random models.
        settings: of each measurement, in addition to at most `MAX_S` of timed runs.
    """
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        jobs = jobs or converted(home, models)
        settings = {"max_s": MAX_S, **settings}
        devices = {
            way: HostDevice(Settings(home=home, measurement=MeasurementSettings(**settings, **WAYS[way])))
            for way in ways
        }
        results = _measured(devices, jobs, rounds)
    figures = {way: _figures(of, len(jobs), rounds) for way, of in results.items()}
    return {"models": len(jobs), "rounds": rounds, **figures, **_ratios(results, figures)}


def _ratios(results: dict[str, Results], figures: dict[str, Any]) -> dict[str, float]:
    """Return each way's seconds and latencies to those of `ungated`, the second in the median."""
    if "ungated" not in results:
        return {}
    anchor, others = results["ungated"], [way for way in results if way != "ungated"]
    return {
        f"{way}_to_ungated_seconds_ratio": figures[way]["seconds"] / figures["ungated"]["seconds"]
        for way in others
    } | {
        f"{way}_to_ungated_latency_ratio": float(
            np.median([results[way][key][0] / anchor[key][0] for key in anchor if anchor[key][0]])
        )
        for way in others
    }


def _measured(
    devices: dict[str, HostDevice], jobs: Sequence[BenchmarkJob], rounds: int
) -> dict[str, Results]:
    results: dict[str, Results] = {name: {} for name in devices}
    order = random.Random(SEED)
    for number, repeat in product(range(rounds), range(1 + REPEATS)):
        todo = [
            (model, name)
            for model, name in product(range(len(jobs)), devices)
            if not repeat or results[name][number, model][1] is not Verdict.VALID
        ]
        order.shuffle(todo)
        for model, name in todo:
            began_s = time.monotonic()
            report = devices[name].run(jobs[model], Backend.CPU, stop=threading.Event())
            median_ns = report.latency.median_ns if report.latency else 0
            before_s = results[name][number, model][2] if repeat else 0
            results[name][number, model] = median_ns, report.verdict, before_s + time.monotonic() - began_s
    for device in devices.values():
        device.close()
    return results


def _figures(results: Results, models: int, rounds: int) -> dict[str, Any]:
    medians = np.array([[results[number, model][0] for model in range(models)] for number in range(rounds)])
    differences = np.abs(medians[1:] / medians[:-1] - 1).ravel()
    valid = [verdict is Verdict.VALID for _, verdict, _ in results.values()]
    both = [
        np.abs(results[n, m][0] / results[n - 1, m][0] - 1)
        for n, m in product(range(1, rounds), range(models))
        if {results[n, m][1], results[n - 1, m][1]} == {Verdict.VALID}
    ]
    return {
        "difference_median": round(float(np.median(differences)), 4),
        "difference_p90": round(float(np.percentile(differences, 90)), 4),
        "difference_largest": round(float(differences.max()), 4),
        "valid_difference_median": round(float(np.median(both)), 4) if both else None,
        "valid_difference_largest": round(float(max(both)), 4) if both else None,
        "spearman_lowest": round(min(spearman(a, b) for a, b in pairwise(medians)), 4),
        "valid_share": round(sum(valid) / len(valid), 3),
        "seconds": round(sum(seconds for _, _, seconds in results.values()) / len(results), 2),
    }


def spearman(first: Any, second: Any) -> float:
    """Return the rank correlation; 1 for a single model."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1]) if len(first) > 1 else 1.0


def converted(home: Path, models: int) -> list[BenchmarkJob]:
    """Convert random models and return their artifacts."""
    command = [sys.executable, "-m", "nnlite.cli", "run", "--limit", str(models), "--seed", str(SEED)]
    environment = dict(os.environ) | _QUICK | {"NNLITE_HOME": str(home)}
    subprocess.run(command, env=environment, check=True, timeout=_TIMEOUT_S, stdout=subprocess.DEVNULL)
    settings = Settings(home=home, database_url=None, broker_url=None, _env_file=None)
    store = open_store(settings)
    with servers(settings) as endpoints:
        engine = engine_for(endpoints.database_url)
        with engine.connect() as connection:
            artifacts = [from_row(Artifact, row) for row in connection.scalars(_ARTIFACTS)]
        engine.dispose()
    return [
        job_of(
            artifact,
            artifact.identity,
            store.fetch(artifact.path),
            tuple(map(store.fetch, artifact.reference_outputs)),
        )
        for artifact in artifacts
    ]


if __name__ == "__main__":
    numbers, ways = [int(word) for word in sys.argv[1:3]], sys.argv[3:] or tuple(WAYS)
    print(json.dumps(run(*numbers, ways=ways), indent=1))
