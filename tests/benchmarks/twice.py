"""The same models measured twice: how far two measurements differ, and whether their intervals say so.

Random LEMUR models, each measured in two rounds in random order, as two campaigns would.
`python tests/benchmarks/twice.py [MODELS]` prints the figures.
"""

import json
import random
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.gating import converted, spearman
from nnlite.reports.schema import MeasurementReport
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Verdict
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.host.device import HostDevice

MODELS = 50
SEED = 12
#: Median and 90th percentile of |ln(ratio)| of pairs / standard deviation of one run, as in the views.
_PAIR, _PAIR_P90 = 0.9539, 2.3262
_NORMAL_95 = 1.96


def run(models: int = MODELS, jobs: Sequence[BenchmarkJob] = (), **settings: Any) -> dict[str, Any]:
    """Return how far the second measurement of each model is from the first one.

    Args:
        models: number of random models.
        jobs: what to measure instead of random models.
        settings: of the measurement.
    """
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        jobs = jobs or converted(home, models)
        first, second = _measured(home, jobs, MeasurementSettings(**settings))
    return {"models": len(jobs), **figures(first, second)}


def figures(first: Sequence[MeasurementReport], second: Sequence[MeasurementReport]) -> dict[str, Any]:
    """Return the figures of two rounds; models without a latency in one of them are left out.

    `covered_share` is the share of models whose second median is within the interval that nnlite shows for
    the first: that of the run, widened by the variation between runs, which these pairs tell, for both.
    `covered_by_run_share` is that of the run's interval alone.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.latency and b.latency]
    medians = np.array([[a.latency.median_ns, b.latency.median_ns] for a, b in pairs], float).T  # type: ignore[union-attr]
    ratios = medians[1] / medians[0]
    differences = np.abs(np.log(ratios))
    between = float(np.median(differences)) / _PAIR
    spread = max(between, float(np.percentile(differences, 90)) / _PAIR_P90)
    within = np.array([_half_width(a) for a, _ in pairs])
    every = [*first, *second]
    return {
        "compared": len(pairs),
        "difference_median": round(float(np.median(np.abs(ratios - 1))), 4),
        "difference_p90": round(float(np.percentile(np.abs(ratios - 1), 90)), 4),
        "spearman": round(spearman(*medians), 4),
        "between_runs": round(between, 4),
        "covered_share": _share(np.abs(ratios - 1) <= np.sqrt(within**2 + 2 * (_NORMAL_95 * spread) ** 2)),
        "covered_by_run_share": _share(np.abs(ratios - 1) <= within),
        "valid_share": round(sum(report.verdict is Verdict.VALID for report in every) / len(every), 3),
        "second_to_first_ratio": round(float(median(ratios)), 4),
    }


def _half_width(report: MeasurementReport) -> float:
    """Return half the width of a run's interval, relative to its median; 0: it has none."""
    latency = report.latency
    if latency is None or latency.median_low_ns is None or latency.median_high_ns is None:
        return 0.0
    return (latency.median_high_ns - latency.median_low_ns) / 2 / latency.median_ns


def _share(inside: Any) -> float:
    return round(float(np.mean(inside)), 3)


def _measured(
    home: Path, jobs: Sequence[BenchmarkJob], measurement: MeasurementSettings
) -> list[list[MeasurementReport]]:
    device = HostDevice(Settings(home=home, measurement=measurement))
    order = random.Random(SEED)
    rounds = []
    for _ in range(2):
        shuffled = order.sample(range(len(jobs)), len(jobs))
        reports = {model: device.run(jobs[model], Backend.CPU, stop=threading.Event()) for model in shuffled}
        rounds.append([reports[model] for model in range(len(jobs))])
    device.close()
    return rounds


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=1))
