"""A device that misbehaves ends its worker, never the work; the next one that is ready heals the incident."""

import signal
import threading
import uuid
from pathlib import Path

import pytest

from integration.canned import finish_conversion, stored_canary
from integration.conftest import Cluster, living_owner
from nnlite.artifacts import ArtifactStore
from nnlite.failures import Failure, FailureClass
from nnlite.queue.work import Outcome, Station, work
from nnlite.results.devices import heal_incidents, record_device
from nnlite.vocabulary import DeviceStatus, Stage, WorkKind
from nnlite_benchmark import canary
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.host.device import HostDevice


class Unplugged(HostDevice):
    """A device that is gone when it is to measure."""

    def run(self, *_: object, **__: object) -> object:
        raise Failure(FailureClass.DEVICE, Stage.RUN, "the device is gone")


@pytest.fixture
def benchmarker(cluster: Cluster, tmp_path: Path) -> Benchmarker:
    device = Unplugged(cluster.settings)
    stop = threading.Event()
    station = Station(
        engine=cluster.engine,
        messenger=cluster.messenger,
        owner=living_owner("benchmark@here"),
        settings=cluster.settings,
        stopping=stop.is_set,
    )
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    yield Benchmarker(station=station, store=store, device=device, stop=stop)
    device.close()


@pytest.fixture
def signals() -> list[int]:
    """The SIGTERMs that this process gets."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def row(cluster: Cluster, benchmarker: Benchmarker) -> uuid.UUID:
    conversion = cluster.conversion(cluster.submit("BagNet").id)["id"]
    (message,) = finish_conversion(cluster, conversion, **stored_canary(benchmarker.store, canary.MODEL_FILE))
    return message.row_id


def test_a_fault_gives_the_work_back_and_ends_the_worker_with_an_incident(
    cluster: Cluster, benchmarker: Benchmarker, row: uuid.UUID, signals: list[int]
) -> None:
    outcome = work(benchmarker.station, WorkKind.BENCHMARK, row, benchmarker.perform, 120)
    benchmarker.after(row)
    assert (outcome, signals) == (Outcome.FAILED, [signal.SIGTERM])
    assert cluster.rows("SELECT state, failure_class, strikes FROM benchmark") == [
        {"state": "queued", "failure_class": "device", "strikes": 0}
    ]
    assert cluster.rows("SELECT fault, reason, rungs, healed, benchmark_id FROM incident") == [
        {
            "fault": "process_died",
            "reason": "the device is gone",
            "rungs": ["restart the worker"],
            "healed": False,
            "benchmark_id": row,
        }
    ]
    assert cluster.rows("SELECT state FROM device") == [{"state": "faulty"}]


def test_a_device_that_is_ready_again_heals_its_incidents(
    cluster: Cluster, benchmarker: Benchmarker, row: uuid.UUID, signals: list[int]
) -> None:
    work(benchmarker.station, WorkKind.BENCHMARK, row, benchmarker.perform, 120)
    benchmarker.after(row)
    heal_incidents(
        cluster.engine,
        record_device(cluster.engine, benchmarker.context(), DeviceStatus.READY, "benchmark@here"),
    )
    (incident,) = cluster.rows("SELECT healed, duration_ns FROM incident")
    assert incident["healed"]
    assert incident["duration_ns"] > 0


def test_without_a_fault_the_worker_goes_on(
    benchmarker: Benchmarker, row: uuid.UUID, signals: list[int]
) -> None:
    benchmarker.after(row)
    assert signals == []
