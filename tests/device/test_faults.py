"""Every fault of a device, through a real worker: the right incident and class, a finished benchmark."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from device.lab import Lab, RunningWorker
from device.rig.backends import Mode
from device.rig.faults import Fault, Until
from device.rig.rig import RigDevice, frozen, kill
from nnlite.vocabulary import Backend

AVD = "avd:lab-0"


@pytest.fixture(scope="module")
def worker(lab: Lab) -> RunningWorker:
    """One worker with one emulator, which every fault of this module meets in turn."""
    running = lab.worker(AVD)
    lab.wait_state(running.device, "ready")
    return running


@pytest.fixture
def device(lab: Lab, worker: RunningWorker) -> Iterator[RigDevice]:
    """The emulator, ready and without a fault before and after each test."""
    device = lab.sdk.avd("lab-0")
    yield device
    device.heal()
    device.backends()
    lab.wait_state(worker.device, "ready")


@contextmanager
def one_incident(lab: Lab, worker: RunningWorker) -> Iterator[dict[str, Any]]:
    """Expect one more incident of the worker's device, healed; its columns are there after the block."""
    before = len(lab.incidents(worker.device))
    found: dict[str, Any] = {}
    yield found
    lab.wait_state(worker.device, "ready")
    (incident,) = lab.incidents(worker.device)[before:]
    assert incident["healed"]
    found |= incident


@dataclass(frozen=True)
class Case:
    """A fault that one benchmark meets."""

    fault: Fault
    #: The kinds that the incident may have.
    incidents: set[str]
    #: Where the attempt was when it met the fault.
    stage: str
    #: The rungs that were climbed; the last one helped.
    rungs: tuple[str, ...] = ("reconnect",)
    times: int | None = 1
    until: Until | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.fault.value, *map(str, self.parameters.values())])


ADB = ("reconnect", "restart the adb server")
RESTART = "restart the emulator"
WIPE = "wipe its data"

MET_BY_A_BENCHMARK = [
    Case(Fault.APP_CRASHES, {"app_crashed"}, "run", parameters={"runs": "benchmark"}),
    Case(Fault.APP_CRASHES, {"app_crashed"}, "canary", parameters={"runs": "canary"}),
    Case(Fault.APP_HANGS, {"app_hung"}, "run", parameters={"runs": "benchmark"}),
    Case(Fault.RESULT_TRUNCATED, {"bad_report"}, "run", parameters={"runs": "benchmark"}),
    Case(Fault.RESULT_GARBAGE, {"bad_report"}, "run", parameters={"runs": "benchmark"}),
    Case(Fault.WRONG_OUTPUT, {"wrong_canary"}, "canary", parameters={"runs": "canary"}),
    # Whether adb has noticed yet that the connection is gone is a matter of milliseconds.
    Case(Fault.DIES_MID_PUSH, {"offline", "disconnected", "command_failed"}, "push"),
    Case(Fault.DIES_MID_RUN, {"offline", "disconnected", "command_failed"}, "canary"),
    Case(Fault.SHELL_HANGS, {"no_answer"}, "push", (*ADB, RESTART), None, Until.RESTART),
    Case(Fault.OFFLINE, {"offline"}, "push", (*ADB, RESTART), None, Until.RESTART),
    Case(Fault.STORAGE_FULL, {"storage_full"}, "push", (*ADB, RESTART, WIPE), None, Until.WIPE),
]


@pytest.mark.parametrize("case", MET_BY_A_BENCHMARK, ids=str)
def test_a_fault_that_a_benchmark_meets_is_healed_and_the_benchmark_is_finished(lab, worker, device, case):
    with one_incident(lab, worker) as found:
        device.fault(case.fault, times=case.times, until=case.until, **case.parameters)
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert found["fault"] in case.incidents, found["reason"]
    assert tuple(found["rungs"]) == case.rungs, found["reason"]
    assert found["benchmark_id"] == row
    failed, done = lab.attempts(row)
    assert (failed, done[0]) == (("device", case.stage), "done")
    assert lab.benchmark(row)["strikes"] == 0


def test_an_emulator_that_is_killed_is_started_again(lab, worker, device):
    with one_incident(lab, worker) as found:
        kill(lab.pid(worker, "emulator"))
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert (found["fault"], found["rungs"]) == ("emulator_gone", [*ADB, RESTART])
    assert found["benchmark_id"] == row


def test_a_frozen_emulator_is_started_again(lab, worker, device):
    with one_incident(lab, worker) as found, frozen(lab.pid(worker, "emulator")):
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert found["fault"] in {"no_answer", "offline"}
    assert found["rungs"] == [*ADB, RESTART]


def test_an_adb_server_that_is_killed_is_started_again_and_no_other_in_its_place(lab, worker, device):
    emulator = lab.pid(worker, "emulator")
    with one_incident(lab, worker) as found:
        kill(lab.pid(worker, "adb-server"))
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert (found["fault"], found["rungs"]) == ("adb_server_gone", list(ADB))
    assert lab.pid(worker, "emulator") == emulator, "the emulator was not touched"
    assert not lab.daemons(), "nobody started an adb daemon that nobody owns"


def test_an_artifact_that_always_crashes_the_app_rests_in_quarantine_and_the_device_goes_on(
    lab, worker, device
):
    device.fault(Fault.APP_CRASHES, runs="benchmark")
    (row,) = lab.enqueue()
    lab.wait(lambda: lab.benchmark(row)["state"] == "quarantined", "quarantined benchmark")
    lab.wait_state(worker.device, "ready")
    assert [outcome for outcome, _ in lab.attempts(row)] == ["device"] * 4
    device.heal()
    (next_row,) = lab.enqueue()
    lab.wait_done([next_row])


def test_a_clock_that_jumps_is_not_believed(lab, worker, device):
    device.fault(Fault.CLOCK_JUMPS)
    (row,) = lab.enqueue()
    lab.wait_done([row])
    before = datetime.fromisoformat(lab.benchmark(row)["report"]["measurements"][0]["before"]["at"])
    assert abs(datetime.now(UTC) - before) < timedelta(minutes=10)


def test_backends_that_refuse_are_measurements_with_the_error_and_no_fault(lab, worker, device):
    before = len(lab.incidents(worker.device))
    (row,) = lab.enqueue(backends=tuple(Backend))
    lab.wait_done([row])
    measured = {m["backend"]: m for m in lab.measurements(row)}
    assert (measured["cpu"]["verdict"], measured["cpu"]["runs"]) == ("valid", 10)
    assert (measured["gpu"]["verdict"], measured["gpu"]["reasons"]) == ("invalid", ["runtime"])
    assert (measured["npu"]["verdict"], measured["npu"]["reasons"]) == ("invalid", ["not_delegated"])
    for refused in ("gpu", "npu"):
        assert measured[refused]["error"] and measured[refused]["mean_ns"] is None
    assert len(lab.incidents(worker.device)) == before


def test_a_delegate_that_crashes_the_app_is_the_runtimes_refusal(lab, worker, device):
    before = len(lab.incidents(worker.device))
    device.backends(gpu=Mode.WORKS)
    device.fault(Fault.DELEGATE_CRASHES, backend="gpu")
    (row,) = lab.enqueue(backends=(Backend.CPU, Backend.GPU))
    lab.wait_done([row])
    cpu, gpu = lab.measurements(row)
    assert (cpu["verdict"], gpu["verdict"], gpu["reasons"]) == ("valid", "invalid", ["runtime"])
    assert "crashed" in gpu["error"]
    assert len(lab.incidents(worker.device)) == before


def test_a_delegate_that_takes_some_nodes_is_measured_and_marked(lab, worker, device):
    device.backends(gpu=Mode.WORKS, npu=Mode.PARTIAL)
    (row,) = lab.enqueue(backends=(Backend.GPU, Backend.NPU))
    lab.wait_done([row])
    gpu, npu = lab.measurements(row)
    assert (gpu["delegate"], gpu["delegated_nodes"]) == ("TfLiteGpuDelegateV2", gpu["total_nodes"])
    assert (npu["verdict"], npu["reasons"]) == ("valid", ["partial_delegation"])
    assert 0 < npu["delegated_nodes"] < npu["total_nodes"]


def test_a_device_that_computes_something_else_gives_no_latency(lab, worker, device):
    device.fault(Fault.WRONG_OUTPUT, runs="benchmark", times=1)
    (row,) = lab.enqueue()
    lab.wait_done([row])
    (measured,) = lab.measurements(row)
    assert (measured["verdict"], measured["reasons"], measured["mean_ns"]) == ("invalid", ["parity"], None)


def test_a_worker_that_is_told_to_stop_gives_its_work_back_and_leaves_nothing(lab, worker, device):
    device.fault(Fault.APP_HANGS, runs="benchmark")
    (row,) = lab.enqueue()
    lab.wait(lambda: lab.benchmark(row)["stage"] == "run", "run")
    owned = [lab.process(worker, name) for name in ("emulator", "adb-server")]
    assert worker.stop() == 0
    assert lab.attempts(row) == [("released", "claim")]
    assert lab.benchmark(row)["state"] == "queued"
    assert not any(process.alive for process in owned)
    assert (lab.device(worker.device)["state"], lab.device(worker.device)["owner_node"]) == ("stopped", None)
    device.heal()
    again = lab.worker(AVD)
    lab.wait_done([row])
    lab.wait_state(again.device, "ready")


def test_what_a_killed_worker_left_is_ended_by_the_next_which_does_its_work(lab, device):
    worker = lab.workers[-1]
    device.fault(Fault.APP_HANGS, runs="benchmark", times=1)
    (row,) = lab.enqueue()
    lab.wait(lambda: lab.benchmark(row)["stage"] == "run", "run")
    owned = [lab.process(worker, name) for name in ("emulator", "adb-server")]
    worker.kill()
    lab.worker(AVD)
    lab.wait_done([row])
    assert not any(process.alive for process in owned)
    assert [outcome for outcome, _ in lab.attempts(row)] == ["lost", "done"]


def test_a_second_worker_for_the_same_device_is_refused(lab, device):
    second = lab.worker(AVD)
    assert second.process.wait(60) == 1
    assert "is owned by another worker" in second.log.read_text()
    lab.workers.remove(second)
