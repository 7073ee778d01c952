"""Injected load: is every affected result noisy, with the right cause, and valid once the load has ended?

A campaign of `nnlite run` over pre-built files begins while a process on each core burns it. The load ends
when each file has a result; what was noisy is measured again by the campaign itself.
`python tests/benchmarks/load.py [MODELS]` prints the figures.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import text

from benchmarks.quiet import JOB
from nnlite.db.engine import autocommit, engine_for
from nnlite.local import servers
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Verdict
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.protocol import canary

MODELS = 8
_POLL_S = 1.0
_TIMEOUT_S = 1800
_BURN = "while True: pass"
#: Words of the causes that name another process on the measuring cores.
_NAMES_LOAD = ("other processes used", "CPU pressure", "interruptions")
_RESULTS = text("""
SELECT model, run, verdict, noise_cause, median_ns FROM measurement_run WHERE campaign = 'load' ORDER BY run
""")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measurement of a model."""

    model: str
    #: From 1; those from 2 on are repeats.
    run: int
    verdict: str
    noise_cause: str | None
    median_ns: int | None


#: Measures so many models under load until each has a result, and what is noisy again without.
Measure = Callable[[int], Sequence[Result]]


def run(models: int = MODELS, measure: Measure | None = None) -> dict[str, Any]:
    """Return what became of the results that were measured under load."""
    results = (measure or _campaign)(models)
    first = {result.model: result for result in results if result.run == 1}
    affected = {name: result for name, result in first.items() if result.verdict != Verdict.VALID}
    later = [result for result in results if result.run > 1 and result.model in affected]
    valid = {result.model: result for result in later if result.verdict == Verdict.VALID}
    named = [r for r in affected.values() if any(words in (r.noise_cause or "") for words in _NAMES_LOAD)]
    last = {result.model: result for result in results if result.run > 1}
    slower = [
        before.median_ns / after.median_ns
        for name, after in last.items()
        if (before := first[name]).median_ns and after.median_ns
    ]
    return {
        "models": models,
        "affected": len(affected),
        "noisy": sum(result.verdict == Verdict.NOISY for result in affected.values()),
        "cause_named": len(named),
        "repeats": len(later),
        "valid_after": len(valid),
        "causes": sorted({result.noise_cause or "" for result in affected.values()}),
        "loaded_to_quiet_ratio": median(slower) if slower else None,
    }


@contextmanager
def load(processes: int | None = None) -> Iterator[None]:
    """Burn every core, or so many, with a process each until left."""
    burning = [
        subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(processes or os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def measured_directly(models: int, **settings: Any) -> list[Result]:
    """Measure the canary's network under load and then without, by the host device alone."""
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        # Its own canary is measured under the same load, so that it does not drift.
        device = HostDevice(Settings(home=Path(folder), measurement=MeasurementSettings(**settings)))
        results = []

        def measure(number: int) -> None:
            for model in range(models):
                report = device.run(JOB, Backend.CPU, stop=threading.Event())
                results.append(
                    Result(
                        model=str(model),
                        run=number,
                        verdict=report.verdict,
                        noise_cause=report.noise_cause,
                        median_ns=report.latency and report.latency.median_ns,
                    )
                )

        with load():
            measure(1)
        measure(2)
        device.close()
    return results


def _campaign(models: int) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        files = home / "nets"
        files.mkdir()
        for number in range(models):
            # The bytes behind the network are no part of it, but of the file's identity.
            (files / f"net_{number}.tflite").write_bytes(canary.MODEL_FILE.read_bytes() + b"%d" % number)
        command = [sys.executable, "-m", "nnlite.cli", "run", "--source", "files", "--path", str(files)]
        environment = os.environ | {"NNLITE_HOME": str(home), "NNLITE_MEASUREMENT__AUDIT_SHARE": "0"}
        settings = Settings(home=home, database_url=None, broker_url=None, _env_file=None)
        with load():
            process = subprocess.Popen(
                [*command, "--name", "load"], env=environment, stdout=subprocess.DEVNULL
            )
            with servers(settings) as endpoints:
                _wait(process, lambda: len({r.model for r in _results(endpoints.database_url)}) == models)
        try:
            process.wait(_TIMEOUT_S)
        finally:
            process.kill()
        with servers(settings) as endpoints:
            return _results(endpoints.database_url)


def _wait(process: "subprocess.Popen[bytes]", is_done: Callable[[], bool]) -> None:
    until_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < until_s and process.poll() is None and not is_done():
        time.sleep(_POLL_S)


def _results(database_url: str) -> list[Result]:
    """Return the results so far; none before the database has its tables."""
    engine = engine_for(database_url)
    try:
        with autocommit(engine) as connection:
            if not connection.scalar(text("SELECT to_regclass('measurement_run')")):
                return []
            return [Result(**row) for row in connection.execute(_RESULTS).mappings()]
    finally:
        engine.dispose()


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=1))
