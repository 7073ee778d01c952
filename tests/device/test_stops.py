"""A worker stops at once in every kind of wait, and leaves no process behind.

All workers start at once, because they mostly wait.
"""

import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from device.lab import Lab, RunningWorker
from device.rig.faults import Fault
from device.rig.rig import frozen
from nnlite.host.locks import FileLock
from nnlite.host.processes import ProcessIdentity
from nnlite.worker.celery_worker import EXIT_FAULT
from waiting import NEVER_S, is_alive, wait_until

#: Only a stop ends such a wait.
LONG_S = f"{NEVER_S}"
NO_ABI = {"fault": Fault.INSTALL_FAILS, "reason": "INSTALL_FAILED_NO_MATCHING_ABIS"}

#: AVD: what it does wrong, and its worker's settings.
WORKERS: dict[str, tuple[list[dict[str, Any]], dict[str, str]]] = {
    "boots": ([{"fault": Fault.NEVER_BOOTS}], {"ANDROID__BOOT_TIMEOUT_S": LONG_S}),
    # What helps nothing is tried until the restart, whose boot never ends.
    "recovers": ([NO_ABI, {"fault": Fault.NEVER_BOOTS, "every": 2}], {"ANDROID__BOOT_TIMEOUT_S": LONG_S}),
    "cools": ([NO_ABI], {"ANDROID__COOL_OFF_S": LONG_S}),
    "fails": ([NO_ABI], {"ANDROID__COOL_OFF_S": "0"}),
    "stalls": ([], {"ANDROID__COMMAND_TIMEOUT_S": LONG_S, "ANDROID__TRANSFER_TIMEOUT_S": LONG_S}),
    "hurries": ([], {"ANDROID__COMMAND_TIMEOUT_S": LONG_S, "ANDROID__TRANSFER_TIMEOUT_S": LONG_S}),
    "waits": ([], {"MEASUREMENT__QUIET_TIMEOUT_S": LONG_S}),
    "calls": ([], {"BROKER_URL": "redis://127.0.0.1:1/0"}),
}


@pytest.fixture(scope="module")
def workers(lab: Lab) -> dict[str, RunningWorker]:
    """A worker for each AVD, all started together."""
    for name, (faults, _) in WORKERS.items():
        for fault in faults:
            lab.sdk.avd(name).fault(**fault)
    return {name: lab.worker(f"avd:{name}", pool=name, **settings) for name, (_, settings) in WORKERS.items()}


@pytest.fixture
def lock(lab: Lab) -> Iterator[FileLock]:
    """The lock that a measurement on this machine takes first, held by somebody else."""
    lock = FileLock(lab.folder / "quiet" / "request.lock")
    assert lock.try_exclusive()
    yield lock
    lock.close()


def owned(lab: Lab, worker: RunningWorker) -> list[ProcessIdentity]:
    """Wait until a worker has its emulator and its adb server, and return them."""
    device = f"devices/{worker.device.replace(':', '_')}"
    programs = ("adb-server", "emulator")
    notes = [lab.folder / device / f"{program}.process.json" for program in programs]
    lab.wait(lambda: all(note.is_file() and note.read_text() for note in notes), "emulator and adb server")
    return [lab.process(worker, program) for program in programs]


def assert_stops(lab: Lab, worker: RunningWorker, processes: list[ProcessIdentity], state: str) -> None:
    children = psutil.Process(worker.process.pid).children(recursive=True)
    assert worker.stop() == 0
    assert not any(process.alive for process in processes)
    wait_until(lambda: not any(map(is_alive, children)), "its children end")
    row = lab.device(worker.device)
    assert (row["state"], row["owner_node"]) == (state, None)


@pytest.mark.parametrize(
    ("name", "state"), [("boots", "starting"), ("recovers", "recovering"), ("cools", "cooling_off")]
)
def test_stop_during_preparation_or_recovery(lab, workers, name, state):
    lab.wait_state(workers[name].device, state)
    assert_stops(lab, workers[name], owned(lab, workers[name]), "stopped")


def test_stop_while_the_broker_is_unavailable(lab, workers):
    worker = workers["calls"]
    lab.wait_state(worker.device, "ready")
    lab.wait(lambda: "Cannot connect to redis" in worker.log.read_text(), "search for the broker")
    assert_stops(lab, worker, owned(lab, worker), "stopped")


def test_stop_while_waiting_for_the_measurement_lock(lab, workers, lock):
    worker = workers["waits"]
    lab.wait_state(worker.device, "ready")
    (row,) = lab.enqueue(pool="waits")
    lab.wait(lambda: lab.benchmark(row)["stage"] == "quiet", "wait for quiet")
    assert_stops(lab, worker, owned(lab, worker), "stopped")
    assert [outcome for outcome, _ in lab.attempts(row)] == ["released"]


def test_stop_while_the_emulator_is_frozen(lab, workers):
    worker = workers["stalls"]
    lab.wait_state(worker.device, "ready")
    with frozen(lab.pid(worker, "emulator")):
        (row,) = lab.enqueue(pool="stalls")
        lab.wait(lambda: lab.benchmark(row)["stage"] == "push", "push")
        assert_stops(lab, worker, owned(lab, worker), "stopped")
    assert [outcome for outcome, _ in lab.attempts(row)] == ["released"]


def test_a_second_signal_ends_the_worker_at_once(lab, workers):
    worker = workers["hurries"]
    lab.wait_state(worker.device, "ready")
    programs = owned(lab, worker)
    with frozen(lab.pid(worker, "emulator")):
        (row,) = lab.enqueue(pool="hurries")
        lab.wait(lambda: lab.benchmark(row)["stage"] == "push", "push")
        worker.process.send_signal(signal.SIGTERM)
        lab.wait(lambda: lab.benchmark(row)["state"] == "queued", "released row")
        assert worker.stop() == EXIT_FAULT
    lab.wait(lambda: not any(program.alive for program in programs), "end of what it owned")


def test_stop_while_the_device_is_quarantined(lab, workers):
    worker = workers["fails"]
    lab.wait_state(worker.device, "quarantined")
    assert_stops(lab, worker, [], "quarantined")
