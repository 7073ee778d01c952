"""Shared by the programs that run a Celery worker repeatedly in one process: its plan, and one run of it."""

import threading
from collections.abc import Callable

from celery import signals

from nnlite.local import Endpoints
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.attempt import PostgresUnreachableError
from nnlite.worker.celery_worker import WorkerPlan, run_worker, stop_consuming
from nnlite.worker.watchdog import WorkerLiveness

liveness, stop = WorkerLiveness(), threading.Event()
#: Cleared while a task must not end.
may_take = threading.Event()
may_take.set()


def take():
    may_take.wait()
    # What a task asks for first: a message has come. It stays unacknowledged, to come again.
    stop_consuming()
    raise PostgresUnreachableError("toy")


plan = WorkerPlan(
    kind=WorkKind.BENCHMARK, node="again@here", queue="benchmark.again", pool="threads", concurrency=1,
    deadline_s=10, context=take, handler=None, on_stop=stop.set,
)  # fmt: skip


def consume(url: str, at_ready: Callable[[], object]) -> int:
    """Run the worker, call `at_ready` when it consumes, and return its exit code."""

    def ready(**_):
        at_ready()

    signals.worker_ready.connect(ready, weak=False)
    try:
        endpoints = Endpoints(database_url="", broker_url=url)
        return run_worker(plan, endpoints, Settings(_env_file=None), liveness)
    finally:
        signals.worker_ready.disconnect(ready)
