"""`python -m nnlite_benchmark`: a worker that owns one device. `nnlite worker benchmark` starts it."""

import argparse
import sys
import threading

from nnlite.artifacts import open_store
from nnlite.local import Endpoints
from nnlite.queue.app import benchmark_queue
from nnlite.queue.watchdog import Vitals
from nnlite.queue.worker import (
    EXIT_FAULT,
    WorkerPlan,
    default_node,
    give_back_leftovers,
    open_station,
    run_process,
    run_worker,
)
from nnlite.results.devices import heal_incidents, record_device
from nnlite.settings import Settings, SettingsError
from nnlite.vocabulary import DeviceStatus, WorkKind
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.device import Device
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.host.process import OnStage


def main() -> int:
    """Run a benchmark worker until it is stopped; returns its exit code."""
    parser = argparse.ArgumentParser(prog="nnlite worker benchmark")
    parser.add_argument("--device", required=True)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    return run_process(lambda settings, endpoints: _run(settings, endpoints, arguments))


def _run(settings: Settings, endpoints: Endpoints, arguments: argparse.Namespace) -> int:
    vitals = Vitals()
    stop = threading.Event()
    node = default_node(arguments.name)
    station = open_station(endpoints, settings, node, vitals)
    store = open_store(settings)
    give_back_leftovers(station, WorkKind.BENCHMARK)
    device = open_device(
        arguments.device, arguments.pool, settings, lambda stage, _pid: benchmarker.note(stage)
    )
    benchmarker = Benchmarker(station=station, store=store, device=device, stop=stop)
    try:
        device.prepare()
        ready = record_device(station.engine, benchmarker.context(), DeviceStatus.READY, node)
        heal_incidents(station.engine, ready)
        plan = WorkerPlan(
            kind=WorkKind.BENCHMARK,
            node=node,
            queue=benchmark_queue(arguments.pool),
            pool="threads",
            concurrency=1,
            deadline_s=settings.benchmark_deadline_s,
            station=lambda: station,
            perform=benchmarker.perform,
            on_stop=stop.set,
            after=benchmarker.after,
        )
        code = run_worker(plan, endpoints, settings, vitals)
        if benchmarker.fault:
            return EXIT_FAULT
        record_device(station.engine, benchmarker.context(), DeviceStatus.STOPPED, None)
        return code
    finally:
        device.close()


def open_device(name: str, pool: str, settings: Settings, on_stage: OnStage) -> Device:
    """Return the device that `--device` names.

    Raises:
        SettingsError: this version knows no such device.
    """
    if name == "host":
        return HostDevice(settings, pool=pool, on_stage=on_stage)
    raise SettingsError(f"--device {name}: this version measures on `host` only")


if __name__ == "__main__":
    sys.exit(main())
