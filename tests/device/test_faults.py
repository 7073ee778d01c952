"""Every fault of a device, with a real worker: the right incident and class, and a finished benchmark."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from device.rig.faults import Fault, Until


@dataclass(frozen=True)
class Case:
    """A fault that one benchmark meets."""

    fault: Fault
    #: The kinds that the incident may have.
    incidents: set[str]
    #: Where the attempt was when it met the fault.
    stage: str
    #: The recovery steps that were run; the last one helped.
    recovery_steps: tuple[str, ...] = ("reconnect",)
    times: int | None = 1
    until: Until | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.fault.value, *map(str, self.parameters.values())])


#: An app that hangs is ended after the first and the few seconds that a run may last. Each benchmark begins
#: with a canary, however soon it follows another.
WORKER = {"MEASUREMENT__GRACE_S": "30", "MEASUREMENT__CANARY_REUSE_S": "0"}
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
def test_a_device_recovers_from_a_fault_and_the_benchmark_is_finished(lab, worker, device, case):
    with lab.one_incident(worker) as incident:
        device.fault(case.fault, times=case.times, until=case.until, **case.parameters)
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert incident["fault"] in case.incidents, incident["reason"]
    assert tuple(incident["recovery_steps"]) == case.recovery_steps, incident["reason"]
    assert incident["benchmark_id"] == row
    failed, done = lab.attempts(row)
    assert (failed, done[0]) == (("device", case.stage), "done")
    assert lab.benchmark(row)["strikes"] == 0


def test_an_artifact_that_always_crashes_the_app_is_quarantined_and_the_device_continues(lab, worker, device):
    device.fault(Fault.APP_CRASHES, runs="benchmark")
    (row,) = lab.enqueue()
    lab.wait(lambda: lab.benchmark(row)["state"] == "quarantined", "quarantined benchmark")
    lab.wait_state(worker.device, "ready")
    assert [outcome for outcome, _ in lab.attempts(row)] == ["device"] * 4
    device.heal()
    (next_row,) = lab.enqueue()
    lab.wait_done([next_row])


def test_a_jump_of_the_devices_clock_has_no_effect(lab, worker, device):
    device.fault(Fault.CLOCK_JUMPS)
    (row,) = lab.enqueue()
    lab.wait_done([row])
    before = datetime.fromisoformat(lab.benchmark(row)["report"]["measurements"][0]["before"]["at"])
    assert abs(datetime.now(UTC) - before) < timedelta(minutes=10)
