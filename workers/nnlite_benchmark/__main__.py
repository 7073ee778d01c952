"""Benchmark worker process that owns one device; `nnlite worker benchmark` starts it."""

import argparse
import os
import sys
import threading
from types import FrameType
from typing import Final

import structlog

from nnlite.artifacts.store import open_store
from nnlite.campaigns.device_argument import device_argument
from nnlite.host.health_file import HealthFileThread
from nnlite.local import Endpoints
from nnlite.queue.app import benchmark_queue
from nnlite.settings import Settings
from nnlite.vocabulary import Stage, WorkKind
from nnlite.worker.celery_worker import (
    WorkerPlan,
    default_node,
    open_context,
    requeue_leftovers,
    run_process,
    run_worker,
    stop_consuming,
    stop_on_signals,
)
from nnlite.worker.watchdog import WorkerLiveness
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.device_factory import open_device
from nnlite_benchmark.device_manager import DeviceManager, RestartWorkerError

log = structlog.get_logger()

#: Internal exit code: replace this process by a new one with the same arguments.
_RESTART_WORKER: Final = -1


def main() -> int:
    """Run a benchmark worker until it is stopped; returns its exit code."""
    parser = argparse.ArgumentParser(prog="nnlite worker benchmark")
    parser.add_argument("--device", required=True)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    stop = threading.Event()

    def run(settings: Settings, endpoints: Endpoints) -> int:
        with HealthFileThread(settings.health_file) as health_file:
            return _run(settings, endpoints, arguments, stop, health_file)

    code = run_process(run)
    if code == _RESTART_WORKER:
        if stop.is_set():  # asked to stop during the clean-up
            return 0
        # Connections are closed and every child has ended by now.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "nnlite_benchmark", *sys.argv[1:]])  # noqa: S606
    return code


def _run(
    settings: Settings,
    endpoints: Endpoints,
    arguments: argparse.Namespace,
    stop: threading.Event,
    health_file: HealthFileThread,
) -> int:
    liveness = WorkerLiveness()

    def stop_now(_number: int, _frame: FrameType | None) -> None:
        liveness.stop()
        stop.set()
        stop_consuming()

    # While no Celery worker runs, which has handlers of its own: during preparation and recovery.
    stop_on_signals(settings.queue.stop_timeout_s, lambda: liveness.stopping, stop_now)
    node = default_node(arguments.name)
    context = open_context(endpoints, settings, node, liveness)
    store = open_store(settings)
    requeue_leftovers(context, WorkKind.BENCHMARK)

    def note(stage: Stage) -> None:
        benchmarker.enter_stage(stage)

    argument = device_argument(arguments.device, arguments.pool)
    device = open_device(argument, settings, stop=stop, on_stage=note)
    benchmarker = Benchmarker(context=context, store=store, device=device, stop=stop)
    manager = DeviceManager(
        engine=context.engine,
        device=device,
        benchmarker=benchmarker,
        settings=settings,
        node=node,
        stop=stop,
    )
    plan = WorkerPlan(
        kind=WorkKind.BENCHMARK,
        node=node,
        queue=benchmark_queue(arguments.pool),
        pool="threads",
        concurrency=1,
        deadline_s=settings.benchmark_deadline_s,
        context=lambda: context,
        handler=benchmarker.run,
        device=argument.text,
        on_stop=stop.set,
        after=benchmarker.after,
    )

    def consume() -> int:
        with health_file.paused():
            return run_worker(plan, endpoints, settings, liveness)

    try:
        return manager.run(consume)
    except RestartWorkerError as why:
        log.warning("restarting the worker", reason=str(why))
        return _RESTART_WORKER
    finally:
        device.close()
        context.engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
