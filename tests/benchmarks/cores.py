"""How far medians of a model are apart, by the cores that it runs on: `--cores fast`, all, one, or free.

Random LEMUR models, each measured some times on each choice, in random order, as campaigns would: on the host
and, where `make host-app` has built it, in the app itself, whose own library binds its measuring thread.
"""

import json
import os
import random
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from app_host import HOST_APP, AppHost
from benchmarks.gating import converted
from nnlite.artifacts.inputs import write_inputs
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend
from nnlite_benchmark.android.app.instrumentation import InstrumentationParser, Reported
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.jobs import with_cores

MODELS = 8
ROUNDS = 5
SEED = 14
FREE = "free"
API_LEVEL = 30
#: Arguments of the app, which are named as the settings of a measurement.
_OF_APP = {"warmup_min_runs", "warmup_min_s", "warmup_agreeing_runs", "min_runs", "min_s"}
#: Returns the median of a job on cores, nanoseconds; None: it has none.
Measure = Callable[[BenchmarkJob, str], int | None]


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

    Returns:
        Figures of the host; under `app` those of the app.
    """
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        jobs = jobs or converted(home, models)
        device = HostDevice(Settings(home=home, measurement=MeasurementSettings(**settings)))
        khz = device.highest_khz(threading.Event())
        fast = ("fast",) if all(khz.values()) else ()
        choices = (FREE, *fast, "all", str(max(khz)))
        on_host = _figures_of(partial(_on_host, device), jobs, choices, rounds)
        device.close()
        in_app = {}
        if HOST_APP.is_built:
            with AppHost(API_LEVEL, home) as host:
                asked = {name: value for name, value in settings.items() if name in _OF_APP}
                measure = partial(_in_app, host, home, asked)
                in_app = {
                    "app": _figures_of(measure, jobs, [each for each in choices if each != "fast"], rounds)
                }
    return {"models": len(jobs), "rounds": rounds, **on_host, **in_app}


def _figures_of(
    measure: Measure, jobs: Sequence[BenchmarkJob], choices: Sequence[str], rounds: int
) -> dict[str, Any]:
    medians = _measured(measure, jobs, choices, rounds)
    spreads = {
        choice: [_spread(medians[choice, model]) for model in range(len(jobs)) if medians[choice, model]]
        for choice in choices
    }
    return {choice: _figures(spreads[choice], spreads[FREE]) for choice in choices}


def _measured(
    measure: Measure, jobs: Sequence[BenchmarkJob], choices: Sequence[str], rounds: int
) -> dict[tuple[str, int], list[int]]:
    order = [(choice, model) for choice in choices for model in range(len(jobs)) for _ in range(rounds)]
    random.Random(SEED).shuffle(order)
    medians: dict[tuple[str, int], list[int]] = defaultdict(list)
    for choice, model in order:
        median_ns = measure(jobs[model], choice)
        if median_ns is not None:
            medians[choice, model].append(median_ns)
    return medians


def _on_host(device: HostDevice, job: BenchmarkJob, choice: str) -> int | None:
    asked = replace(job, asked_cores="" if choice == FREE else choice)
    job = with_cores(asked, Backend.CPU, device, MeasurementSettings(), threading.Event())
    report = device.run(job, Backend.CPU, stop=threading.Event())
    return report.latency and report.latency.median_ns


def _in_app(
    host: AppHost,
    folder: Path,
    settings: Mapping[str, Any],
    job: BenchmarkJob,
    choice: str,
) -> int | None:
    inputs = write_inputs(job.inputs, job.seed, folder)
    asked = {"run": "1a", "model": job.artifact, "inputs": ",".join(map(str, inputs)), "backend": "cpu"}
    if choice != FREE:
        everywhere = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        asked["cores"] = everywhere if choice == "all" else choice
    arguments = {name: str(value) for name, value in (asked | dict(settings)).items()}
    parser = InstrumentationParser()
    list(parser.feed(host.run({"arguments": arguments, "storage": str(folder)})))
    _, ending = parser.finish()
    if not isinstance(ending, Reported) or ending.report.cores_error:
        raise RuntimeError(f"the app did not measure on cores {choice}: {ending}")
    return ending.report.latency and ending.report.latency.median_ns


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
