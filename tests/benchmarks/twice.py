"""The same models measured twice: how far two measurements differ, and whether their intervals say so.

Random LEMUR models, each measured in two rounds in random order, as two campaigns would.
`python tests/benchmarks/twice.py [MODELS]` prints the figures.
"""

import json
import math
import random
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gating import converted, spearman
from nnlite.reports.schema import MeasurementReport
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Verdict
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.host.device import HostDevice

MODELS = 50
SEED = 12
#: Median of |ln(ratio)| of pairs / standard deviation of one run, as in the views.
_PAIR = 0.9539
#: As in the views: from how many pairs on a device's own are enough, what is assumed of it before (pairs, and
#: their difference), and the 97.5th percentile of Student's t for 3, 4, ... degrees of freedom.
_ENOUGH, _ASSUMED, _ASSUMED_DIFFERENCE = 19, 3, 0.06
_STUDENT = (
    3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179,
    2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080,
)  # fmt: skip


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
    the first where the other models' pairs are the device's duplicates, `covered_by_one_pair_share` where one
    of them is, `covered_by_assumption_share` where none is. `covered_by_run_share` is that of the interval of
    the run alone, which is not shown.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.latency and b.latency]
    medians = np.array([[a.latency.median_ns, b.latency.median_ns] for a, b in pairs], float).T  # type: ignore[union-attr]
    ratios = medians[1] / medians[0]
    differences = np.abs(np.log(ratios))
    within = np.sqrt(2) * np.array([_half_width(a) for a, _ in pairs])
    others = [np.delete(differences, model) for model in range(differences.size)]
    every = [*first, *second]

    def covered(known: Callable[[NDArray[np.float64]], Iterable[NDArray[np.float64]]]) -> float:
        """Return the mean share over what may be known of the other models' pairs."""
        return _share(
            [
                difference <= max(width, expected_difference(pairs))
                for difference, width, rest in zip(differences, within, others, strict=True)
                for pairs in known(rest)
            ]
        )

    return {
        "compared": len(pairs),
        "difference_median": round(float(np.median(np.abs(ratios - 1))), 4),
        "difference_p90": round(float(np.percentile(np.abs(ratios - 1), 90)), 4),
        "spearman": round(spearman(*medians), 4),
        "between_runs": round(float(np.median(differences)) / _PAIR, 4),
        "covered_share": covered(lambda rest: [rest]),
        "covered_by_one_pair_share": covered(lambda rest: rest.reshape(-1, 1)),
        "covered_by_assumption_share": covered(lambda rest: [rest[:0]]),
        "covered_by_run_share": _share(differences <= within / np.sqrt(2)),
        "valid_share": round(sum(report.verdict is Verdict.VALID for report in every) / len(every), 3),
        "second_to_first_ratio": round(float(median(ratios)), 4),
    }


def expected_difference(pairs: NDArray[np.float64]) -> float:
    """Return in which difference the next pair of runs lies in 95 of 100 cases, as the views do.

    Args:
        pairs: |ln(ratio)| of the pairs of runs that are known.
    """
    if pairs.size >= _ENOUGH:
        return float(np.sort(pairs)[math.ceil(0.95 * (pairs.size + 1) - 1e-9) - 1])
    squares = _ASSUMED * _ASSUMED_DIFFERENCE**2 + float((pairs**2).sum())
    return _STUDENT[pairs.size] * math.sqrt(squares / (_ASSUMED + pairs.size))


def _half_width(report: MeasurementReport) -> float:
    """Return half the width of a run's interval, relative to its median; 0: it has none."""
    latency = report.latency
    if latency is None or latency.median_low_ns is None or latency.median_high_ns is None:
        return 0.0
    return (latency.median_high_ns - latency.median_low_ns) / 2 / latency.median_ns


def _share(inside: Any) -> float:
    return round(float(np.mean(inside)), 3) if len(inside) else 0.0


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
