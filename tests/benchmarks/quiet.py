"""Busy against idle: a campaign that converts on the same machine must not change a latency.

Interleaved pairs of measurements through the host device, one of each pair
next to two supervisors whose children burn a core each and obey
`ConverterLock`. `python tests/benchmarks/quiet.py` prints the ratio.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from nnlite.host.cores import choose_cores
from nnlite.host.quiet import ConverterLock
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Precision
from nnlite_benchmark.device import BenchmarkJob, InputSpec
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.protocol import canary

PAIRS = 7
CONVERTERS = 2
EXPECTED_RATIO = 1.10
TICK_S = 0.1
#: A supervisor that does not end within this hangs, seconds.
_HANG_S = 900
JOB = BenchmarkJob(
    artifact=canary.MODEL_FILE,
    artifact_sha256="0" * 64,
    model_name="canary",
    precision=Precision.FP32,
    inputs=(InputSpec(name="input", shape=canary.INPUT_SHAPE, dtype="float32"),),
    seed=canary.SEED,
    expected_outputs=(canary.EXPECTED_FILE,),
)


def run(number_of_pairs: int = PAIRS, *, converters: int = CONVERTERS, **settings: Any) -> dict[str, Any]:
    """Return the medians, nanoseconds, of all pairs and the median of their ratios, busy / idle."""
    pairs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        # Without the gate, which would hide a conversion that disturbs.
        measurement = MeasurementSettings(**{"min_s": 1, **settings, "gated": False})
        device = HostDevice(Settings(home=home, measurement=measurement))
        for number in range(number_of_pairs):
            order = ("idle", "busy") if number % 2 == 0 else ("busy", "idle")
            pair = {}
            for condition in order:
                with converting(home, converters if condition == "busy" else 0):
                    report = device.run(JOB, Backend.CPU, stop=threading.Event())
                pair[condition] = report.latency.median_ns if report.latency else None
                pair[f"{condition}_verdict"] = str(report.verdict)
            pairs.append(pair)
        mode = device.context().quiet_mode
        device.close()
    ratio = median(pair["busy"] / pair["idle"] for pair in pairs)
    return {
        "name": "busy against idle latency",
        "quiet_mode": str(mode),
        "pairs": len(pairs),
        "idle_median_ns": median(pair["idle"] for pair in pairs),
        "busy_median_ns": median(pair["busy"] for pair in pairs),
        "ratio": ratio,
        "expected_ratio": EXPECTED_RATIO,
        "ok": 1 / EXPECTED_RATIO <= ratio <= EXPECTED_RATIO,
        "verdicts": sorted({pair[f"{c}_verdict"] for pair in pairs for c in ("idle", "busy")}),
    }


@contextmanager
def converting(home: Path, count: int) -> Iterator[None]:
    """Let `count` supervisors with a burning child each run while the block does."""
    supervisors = [
        subprocess.Popen(
            [sys.executable, __file__, "converter", str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(count)
    ]
    try:
        for supervisor in supervisors:
            assert supervisor.stdout is not None
            assert supervisor.stdout.readline() == b"converting\n"
        yield
    finally:
        for supervisor in supervisors:
            supervisor.communicate(timeout=_HANG_S)


def supervise(home: Path) -> None:
    """Hold a burning child to its turns until stdin is closed."""
    cores = choose_cores()
    ended = threading.Event()
    with ConverterLock(home / "quiet", cores) as turn:
        child = burn(cores.converting)
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        runs, announced = True, False
        try:
            while not ended.wait(TICK_S):
                may_run = turn.tick()
                if may_run != runs:
                    os.killpg(child, signal.SIGCONT if may_run else signal.SIGSTOP)
                runs = may_run
                if runs and not announced:
                    announced = True
                    print("converting", flush=True)
        finally:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


def burn(cores: tuple[int, ...]) -> int:
    """Fork a child that keeps a core busy, as a conversion does; returns its PID, which is its group."""
    supervisor, child = os.getpid(), os.fork()
    if child:
        os.setpgid(child, child)
        return child
    os.setpgid(0, 0)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    while os.getppid() == supervisor:
        until_s = time.monotonic() + 0.05
        while time.monotonic() < until_s:
            sum(range(1000))
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["converter"]:
        supervise(Path(sys.argv[2]))
    else:
        print(json.dumps(run(), indent=1))
