"""What a measurement of a small network on the host costs beyond its own warm-up and timed runs.

In one run, in turns: each measurement between two canaries of its own, in new Python
processes; and with reused canaries, in forks. `python tests/benchmarks/overhead.py`
prints the seconds, and the CPU seconds, which other load on the machine does not change.
"""

import json
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Precision
from nnlite_benchmark.device import BenchmarkJob, InputSpec
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.protocol import canary

ROUNDS = 5
#: Measurements of a round in each way; one more before them has no canary to reuse.
MEASUREMENTS = 4
JOB = BenchmarkJob(
    artifact=canary.GATE_FILE,
    artifact_sha256="0" * 64,
    model_name="gate",
    precision=Precision.FP32,
    inputs=(InputSpec(name="input", shape=canary.INPUT_SHAPE, dtype="float32"),),
    seed=canary.SEED,
)
#: Runs that take some ten milliseconds in all. A drifting canary would measure twice.
_QUICK = {"warmup_min_s": 0, "warmup_agreeing_runs": 0, "min_runs": 50, "min_s": 0, "max_canary_drift": 1e9}
WAYS: dict[str, dict[str, Any]] = {
    "own": {"canary_reuse_s": 0, "fork_server": False},
    "reused": {"canary_reuse_s": 60, "fork_server": False},
    "reused_forked": {"canary_reuse_s": 60, "fork_server": True},
}


def run(rounds: int = ROUNDS, measurements: int = MEASUREMENTS, **settings: Any) -> dict[str, Any]:
    """Return the medians of each way, seconds, and the first way's to the last one's."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(rounds):
            for name, way in WAYS.items():
                measurement = MeasurementSettings(**{**_QUICK, **way, **settings})
                took, cpu_s = _round(Settings(home=Path(home), measurement=measurement), measurements)
                seconds[name] += took
                cpu_seconds[name].append(cpu_s)
    figures = {
        name: {"seconds": round(median(seconds[name]), 3), "cpu_seconds": round(median(cpu_seconds[name]), 3)}
        for name in WAYS
    }
    return {
        "measurements": rounds * measurements,
        **figures,
        "own_to_reused_forked_ratio": median(seconds["own"]) / median(seconds["reused_forked"]),
        "own_to_reused_forked_cpu_ratio": median(cpu_seconds["own"]) / median(cpu_seconds["reused_forked"]),
    }


def _round(settings: Settings, measurements: int) -> tuple[list[float], float]:
    """Return the seconds of each measurement beyond its runs, and the CPU seconds of one with everything.

    The first measurement is left out of the seconds. The CPU seconds have the start of a fork server.
    """
    device, took = HostDevice(settings), []
    cpu_began_s = _cpu_s()
    for _ in range(measurements + 1):
        began_s = time.monotonic()
        report = device.run(JOB, Backend.CPU, stop=threading.Event())
        took.append(time.monotonic() - began_s - (report.warmup_ns + report.run_ns) / 1e9)
    device.close()
    return took[1:], (_cpu_s() - cpu_began_s) / (measurements + 1)


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of all processes that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=1))
