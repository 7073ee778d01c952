"""Entry point of the check worker, started by `nnlite worker check`."""

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

import structlog

from nnlite.artifacts.store import open_store
from nnlite.db.engine import engine_for
from nnlite.host.cores import cores_of, pin_to
from nnlite.host.health_file import HealthFileThread
from nnlite.host.tflite_environment import needed_environment
from nnlite.local import Endpoints
from nnlite.queue.messages import BrokerClient
from nnlite.queue.owner import Instance, Owner
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.attempt import WorkerContext
from nnlite.worker.celery_worker import EXIT_FAULT, default_node, requeue_leftovers, run_process
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
    _stop_on_signals(stop, settings.queue.stop_timeout_s)
    environment = needed_environment(settings)
    context = WorkerContext(
        engine=engine_for(endpoints.database_url, settings.database_timeout_s),
        broker=BrokerClient(endpoints.broker_url, settings.broker_timeout_s),
        owner=Owner(node=default_node(name), instance=Instance.current()),
        settings=settings,
        stopping=stop.is_set,
    )
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


def _stop_on_signals(stop: threading.Event, stop_timeout_s: float) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(EXIT_FAULT)
        stop.set()
        signal.alarm(max(1, round(stop_timeout_s)))

    signal.signal(signal.SIGALRM, lambda *_: os._exit(EXIT_FAULT))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


if __name__ == "__main__":
    sys.exit(main())
