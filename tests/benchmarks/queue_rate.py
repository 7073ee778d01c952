"""Models per second through the real Celery, Redis and Postgres path, with work that is nothing.

A model is two tasks with their claims, writes and messages. Also: the time to
submit them all, next to the time of as many `apply_async` calls one after another.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import submit
from nnlite.db.engine import engine_for, upgrade
from nnlite.local import Endpoints, servers
from nnlite.queue.app import create_app
from nnlite.queue.messages import BrokerClient
from nnlite.results.queries import campaigns
from nnlite.settings import Settings
from toys import Toys
from waiting import HANG_S

MODELS = 10_000
#: As many as the processor has, less one for the servers.
CONVERTERS = 1
NOOP_WORKER = (sys.executable, str(Path(__file__).with_name("noop_worker.py")))
_TIMEOUT_S = 600


def run(models: int = MODELS) -> dict[str, Any]:
    """Return the rate and the times; everything is made in a home of its own and removed."""
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        settings = Settings(home=home, database_url=None, broker_url=None, _env_file=None)
        with servers(settings) as endpoints:
            upgrade(endpoints.database_url)
            engine = engine_for(endpoints.database_url)
            broker = BrokerClient(endpoints.broker_url, 30)
            toys = Toys()
            catalogue = [toys.add(f"model-{number:05}") for number in range(models)]
            started = time.monotonic()
            submit(
                engine, broker, Request(source="toys", limit=models), models=catalogue, source=toys,
                settings=settings, name="noop", priority=5,
            )  # fmt: skip
            submit_s = time.monotonic() - started
            seconds, cpu_s = _drain(engine, endpoints, home, models)
            plain_s = _apply_async_one_by_one(endpoints.broker_url, settings, models)
            engine.dispose()
            broker.close()
    return {
        "models": models,
        "models_per_s": round(models / seconds, 1),
        "seconds": round(seconds, 1),
        "overhead_ms_per_model": round(1000 * seconds / models, 2),
        "cpu_ms_per_model": round(1000 * cpu_s / models, 2),
        "submit_s": round(submit_s, 2),
        "apply_async_one_by_one_s": round(plain_s, 2),
        # Against `apply_async` one by one: sending alone, and two tasks done per model.
        "submit_ratio": round(plain_s / submit_s, 2),
        "drain_to_apply_async_ratio": round(seconds / plain_s, 2),
    }


def _drain(engine: Any, endpoints: Endpoints, home: Path, models: int) -> tuple[float, float]:
    with noop_workers(home, endpoints) as workers:
        # From the first to the last: the workers' own start is not the queue's rate.
        deadline = time.monotonic() + _TIMEOUT_S
        while not (progress := campaigns(engine, "noop")[0]).measured:
            _check(workers, deadline)
            time.sleep(0.05)
        first, started, cpu_s = progress.measured, time.monotonic(), _cpu_s(home)
        while not (progress := campaigns(engine, "noop")[0]).ended:
            _check(workers, deadline)
            time.sleep(0.5)
        seconds, cpu_s = time.monotonic() - started, _cpu_s(home) - cpu_s
        assert progress.measured == models, progress
        share = models / (models - first)
        return seconds * share, cpu_s * share


@contextlib.contextmanager
def noop_workers(home: Path, endpoints: Endpoints) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run a conversion worker and a benchmark worker that do nothing in their tasks."""
    environment = dict(os.environ) | {
        "NNLITE_HOME": str(home), "NNLITE_DATABASE_URL": endpoints.database_url,
        "NNLITE_BROKER_URL": endpoints.broker_url, "NNLITE_LOG_LEVEL": "WARNING", "REMAP_SIGTERM": "SIGQUIT",
    }  # fmt: skip
    workers = [
        subprocess.Popen([*NOOP_WORKER, "conversion", str(CONVERTERS)], env=environment),
        subprocess.Popen([*NOOP_WORKER, "benchmark", "1"], env={**environment, "REMAP_SIGTERM": ""}),
    ]
    try:
        yield workers
    finally:
        for process in workers:
            process.terminate()
        for process in workers:
            process.wait(HANG_S)


def _cpu_s(home: Path) -> float:
    """Processor time so far of the workers and the servers, whatever else the machine does."""
    total = 0.0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if str(home) in command or "noop_worker.py" in command or command.startswith("postgres: nnlite"):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _check(workers: list[subprocess.Popen[bytes]], deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"not done after {_TIMEOUT_S} s")
    for process in workers:
        if process.poll() is not None:
            raise RuntimeError(f"a worker ended with {process.returncode}")


def _apply_async_one_by_one(broker_url: str, settings: Settings, models: int) -> float:
    app = create_app(broker_url, settings)

    @app.task(name="nnlite.plain")
    def plain(row: str, model: str) -> None: ...

    started = time.monotonic()
    for number in range(models):
        plain.apply_async((str(uuid.uuid4()), f"model-{number:05}"), queue="plain", priority=4)
    seconds = time.monotonic() - started
    app.close()
    return seconds


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else MODELS), indent=2))
