"""Runs a conversion worker: `python -m nnlite_conversion`, started by `nnlite worker convert`.

`nnlite worker convert` prepares the environment before Python starts: billiard reads REMAP_SIGTERM when it is
imported, and credentials must not be in it, because model code could read them in /proc.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from celery import signals
from celery.worker import state

from nnlite.artifacts.store import open_store
from nnlite.errors import NnliteError
from nnlite.host.cores import cores_of, pin_to
from nnlite.host.health_file import touch_health_file
from nnlite.local import Endpoints
from nnlite.queue.app import CONVERT_QUEUE
from nnlite.settings import Settings
from nnlite.vocabulary import WorkKind
from nnlite.worker.celery_worker import (
    WorkerPlan,
    default_node,
    per_process_context,
    requeue_leftovers,
    run_process,
    run_worker,
    stop_consuming,
)
from nnlite.worker.watchdog import WorkerLiveness
from nnlite_conversion.converter import Converter, conversions_dir
from nnlite_conversion.isolation import sandbox
from nnlite_conversion.isolation.fork_server import ForkServer
from nnlite_conversion.isolation.gpu import choose_gpu
from nnlite_conversion.isolation.process_registry import kill_orphans, remove_orphaned_dirs

#: A worker that consumes and gets no work for so long has none waiting, seconds.
_IDLE_S = 1.0


def main() -> int:
    """Run a conversion worker until it is stopped; returns its exit code."""
    parser = argparse.ArgumentParser(prog="nnlite worker convert")
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    # First of all: what this process holds later, such as passwords, model code must not find in its memory.
    with ForkServer() as fork_server:
        return run_process(
            lambda settings, endpoints: _run(
                settings, endpoints, default_node(arguments.name), arguments.concurrency, fork_server
            )
        )


def _run(
    settings: Settings, endpoints: Endpoints, node: str, concurrency: int, fork_server: ForkServer
) -> int:
    # Every conversion tries it as well; here, before one of them is claimed.
    isolation = settings.conversion
    if not isolation.network and (
        problem := sandbox.network_problem(filter_required=isolation.network_filter)
    ):
        raise NnliteError(problem)
    liveness = WorkerLiveness()
    context = per_process_context(endpoints, settings, node, liveness)
    workdir = conversions_dir(settings)
    kill_orphans(workdir)
    remove_orphaned_dirs(workdir, Path(tempfile.gettempdir()))
    store = open_store(settings)
    store.check()
    requeue_leftovers(context(), WorkKind.CONVERSION)
    gpu = choose_gpu(settings, os.environ.get("CUDA_VISIBLE_DEVICES"), _open_gpu)
    touch_health_file(settings.health_file)
    cores = cores_of(settings)
    pin_to(cores.converting)

    def can_fork() -> bool:
        fork_server.preload(network=settings.conversion.network)
        return fork_server.has_preloaded()

    plan = WorkerPlan(
        kind=WorkKind.CONVERSION,
        node=node,
        queue=CONVERT_QUEUE,
        pool="prefork",
        concurrency=concurrency,
        deadline_s=settings.conversion_deadline_s,
        context=context,
        handler=Converter(
            context=context,
            store=store,
            cores=cores,
            fork=fork_server.fork,
            can_fork=can_fork,
            gpu=gpu,
        ).run,
    )
    context().engine.dispose()
    # When it is forked, not at its first task: an idle pool child must die with the worker as well.
    signals.worker_process_init.connect(lambda **_: context(), weak=False)

    # From Celery's own loop, every two seconds.
    signals.heartbeat_sent.connect(
        lambda **_: prepare_or_stop(fork_server, liveness, network=settings.conversion.network), weak=False
    )
    code = run_worker(plan, endpoints, settings, liveness)
    fork_server.check()
    return code


def prepare_or_stop(fork_server: ForkServer, liveness: WorkerLiveness, *, network: bool) -> None:
    """Let the fork server of a worker without work preload; stop a worker whose server cannot.

    Once there was work, conversions ask for it themselves: what has come may all be in the cache, and the
    imports would take time from its measurements.

    Args:
        fork_server: of the worker.
        liveness: of the worker.
        network: whether model code may use the network.
    """
    if not state.total_count and liveness.idle_s() > _IDLE_S:
        fork_server.preload(network=network)
    if fork_server.has_failed():
        liveness.stop()
        stop_consuming()


def _open_gpu(device: str) -> str:
    """Open a GPU and return its name; in a forked child, which alone imports PyTorch for it."""
    from nnlite_conversion.pipeline.accelerator import open_gpu

    return open_gpu(device)


if __name__ == "__main__":
    sys.exit(main())
