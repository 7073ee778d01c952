"""Entry point of the check worker, started by `nnlite worker check`."""

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

import structlog

from nnlite.artifacts.store import open_store
from nnlite.host.cores import cores_of, pin_to
from nnlite.host.health_file import HealthFileThread
from nnlite.host.tflite_environment import needed_environment
from nnlite.local import Endpoints
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.celery_worker import (
    default_node,
    open_context,
    requeue_leftovers,
    run_process,
    stop_on_signals,
)
from nnlite.worker.watchdog import WorkerLiveness
from nnlite_benchmark.runtime_check.checker import Checker
from nnlite_benchmark.runtime_check.process import RuntimeProcess

log = structlog.get_logger()


def main() -> int:
    """Run a check worker until it is stopped; returns its exit code."""
    parser = argparse.ArgumentParser(prog="nnlite worker check")
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    stop = threading.Event()
    return run_process(lambda settings, endpoints: _run(settings, endpoints, arguments.name, stop))


def _run(settings: Settings, endpoints: Endpoints, name: str, stop: threading.Event) -> int:
    liveness = WorkerLiveness()

    def stop_now(_number: int, _frame: FrameType | None) -> None:
        liveness.stop()
        stop.set()

    stop_on_signals(settings.queue.stop_timeout_s, stop.is_set, stop_now)
    environment = needed_environment(settings)
    context = open_context(endpoints, settings, default_node(name), liveness)
    requeue_leftovers(context, WorkKind.RUNTIME_CHECK)
    store = open_store(settings)
    store.check()
    cores = cores_of(settings)
    pin_to(cores.converting)
    with (
        HealthFileThread(settings.health_file),
        tempfile.TemporaryDirectory(prefix="nnlite-runtime-") as folder,
        RuntimeProcess(environment, Path(folder) / "log", settings.runtime_check) as runtime,
    ):
        log.info("ready", node=context.owner.node, runtime_version=environment.version)
        Checker(
            context=context,
            store=store,
            runtime=runtime,
            runtime_version=environment.version,
            cores=cores,
            stop=stop,
        ).run()
    context.engine.dispose()
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
