"""How far medians of a model are apart, by the cores that it runs on: `--cores fast`, all, one, or free.

Random LEMUR models, each measured some times on each choice, in random order, as campaigns would.
"""

import json
import random
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.gating import converted
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.jobs import with_cores

MODELS = 8
ROUNDS = 5
SEED = 14
FREE = "free"


def run(
    models: int = MODELS, rounds: int = ROUNDS, jobs: Sequence[BenchmarkJob] = (), **settings: Any
) -> dict[str, Any]:
    """Return the spread of medians on each choice of cores, and its ratio to that of a free choice.

    The spread of a model is the difference between its largest and its smallest median, relative to their
    median. A machine that does not say which cores are fast has no figures of `fast`.

    Args:
        models: number of random models.
        rounds: measurements of each model on each choice.
        jobs: what to measure instead of random models.
        settings: of the measurement.
    """
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        jobs = jobs or converted(home, models)
        device = HostDevice(Settings(home=home, measurement=MeasurementSettings(**settings)))
        khz = device.highest_khz(threading.Event())
        fast = ("fast",) if all(khz.values()) else ()
        choices = (FREE, *fast, "all", str(max(khz)))
        medians = _measured(device, jobs, choices, rounds)
        device.close()
    spreads = {
        choice: [_spread(medians[choice, model]) for model in range(len(jobs)) if medians[choice, model]]
        for choice in choices
    }
    return {
        "models": len(jobs),
        "rounds": rounds,
        **{choice: _figures(spreads[choice], spreads[FREE]) for choice in choices},
    }


def _measured(
    device: HostDevice, jobs: Sequence[BenchmarkJob], choices: Sequence[str], rounds: int
) -> dict[tuple[str, int], list[int]]:
    order = [(choice, model) for choice in choices for model in range(len(jobs)) for _ in range(rounds)]
    random.Random(SEED).shuffle(order)
    medians: dict[tuple[str, int], list[int]] = defaultdict(list)
    for choice, model in order:
        asked = replace(jobs[model], asked_cores="" if choice == FREE else choice)
        job = with_cores(asked, Backend.CPU, device, MeasurementSettings(), threading.Event())
        report = device.run(job, Backend.CPU, stop=threading.Event())
        if report.latency is not None:
            medians[choice, model].append(report.latency.median_ns)
    return medians


def _spread(values: Sequence[int]) -> float:
    return (max(values) - min(values)) / median(values)


def _figures(spreads: Sequence[float], free: Sequence[float]) -> dict[str, Any]:
    return {
        "spread_median": round(float(np.median(spreads)), 4),
        "spread_largest": round(max(spreads), 4),
        "spread_to_free_ratio": round(float(np.median(spreads)) / (float(np.median(free)) or 1.0), 3),
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=1))
