"""Faults during the preparation of a device: the worker recovers it, works around them, or gives up.

All workers start at once, because they mostly wait.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from device.lab import Lab, RunningWorker
from device.rig.faults import Fault, Until
from device.rig.rig import leave_stale_locks, taken

ADB = ["reconnect", "restart the adb server"]
RESTART = "restart the emulator"
WIPE = "wipe its data"

#: AVD: what it does wrong.
FAULTS: dict[str, dict[str, Any]] = {
    "never-boots": {"fault": Fault.NEVER_BOOTS, "times": 1},
    "animation": {"fault": Fault.BOOT_ANIMATION_STUCK, "until": Until.RESTART},
    "stays": {"fault": Fault.STAYS_NOT_RESPONDING, "until": Until.RESTART},
    "offline": {"fault": Fault.OFFLINE, "until": Until.RESTART},
    "unauthorized": {"fault": Fault.UNAUTHORIZED, "until": Until.RESTART},
    "corrupt": {"fault": Fault.BOOT_ANIMATION_STUCK, "until": Until.WIPE},
    "update": {"fault": Fault.INSTALL_FAILS, "reason": "INSTALL_FAILED_UPDATE_INCOMPATIBLE"},
    "space": {"fault": Fault.INSTALL_FAILS, "reason": "INSTALL_FAILED_INSUFFICIENT_STORAGE"},
    "downgrade": {"fault": Fault.INSTALL_FAILS, "reason": "INSTALL_FAILED_VERSION_DOWNGRADE", "times": 1},
    "certificates": {
        "fault": Fault.INSTALL_FAILS,
        "reason": "INSTALL_PARSE_FAILED_NO_CERTIFICATES",
        "until": Until.WIPE,
    },
    "abis": {"fault": Fault.INSTALL_FAILS, "reason": "INSTALL_FAILED_NO_MATCHING_ABIS"},
}
#: Stale locks and three faults that another way of waiting or a further try ends, all on one device.
SLOW = "slow"
SLOW_FAULTS: list[dict[str, Any]] = [
    {"fault": Fault.BOOTS_SLOWLY, "seconds": 2},
    {"fault": Fault.NOT_RESPONDING},
    {"fault": Fault.INSTALL_FAILS, "reason": "INSTALL_FAILED_ABORTED", "times": 1},
]
#: Devices whose workers need no recovery.
READY = (SLOW, "update", "space", "downgrade")


@pytest.fixture(scope="module")
def workers(lab: Lab) -> Iterator[dict[str, RunningWorker]]:
    """A worker for each AVD, all started together; a stranger listens on the first port."""
    for name, fault in FAULTS.items():
        lab.sdk.avd(name).fault(**fault)
    leave_stale_locks(lab.sdk.make_avd(lab.folder / "avd", SLOW))
    for fault in SLOW_FAULTS:
        lab.sdk.avd(SLOW).fault(**fault)
    with taken(5586):
        yield {
            name: lab.worker(
                f"avd:{name}",
                pool=name,
                ANDROID__INSTALL_PAUSE_S="0.2",
            )
            for name in (*FAULTS, SLOW)
        }


def ready(lab: Lab, worker: RunningWorker) -> list[tuple[str, list[str], bool]]:
    """Wait until a device is ready, and return its incidents: fault, recovery_steps, healed."""
    lab.wait_state(worker.device, "ready")
    return [(i["fault"], i["recovery_steps"], i["healed"]) for i in lab.incidents(worker.device)]


@pytest.mark.parametrize(
    ("avd", "fault", "recovery_steps"),
    [
        ("never-boots", "boot_timeout", [*ADB, RESTART]),
        ("animation", "boot_timeout", [*ADB, RESTART]),
        ("corrupt", "boot_timeout", [*ADB, RESTART, WIPE]),
        ("certificates", "install_failed", [*ADB, RESTART, WIPE]),
        ("stays", "not_responding", [*ADB, RESTART]),
        ("offline", "offline", [*ADB, RESTART]),
        ("unauthorized", "unauthorized", [*ADB, RESTART]),
    ],
)
def test_recovery_steps_are_run_until_one_helps_and_are_recorded(lab, workers, avd, fault, recovery_steps):
    assert ready(lab, workers[avd]) == [(fault, recovery_steps, True)]


@pytest.mark.parametrize("avd", READY)
def test_conditions_that_the_worker_handles_itself_are_no_incident(lab, workers, avd):
    assert ready(lab, workers[avd]) == []
    (row,) = lab.enqueue(pool=avd)
    lab.wait_done([row])


def test_each_emulator_has_its_own_free_ports(lab, workers):
    for avd in READY:
        ready(lab, workers[avd])
    serials = [lab.attached(workers[avd]) for avd in READY]
    assert [len(own) for own in serials] == [1] * 4
    assert len(set.union(*serials)) == 4
    assert "emulator-5586" not in set.union(*serials)


def test_a_fault_that_no_step_ends_leads_to_quarantine_until_the_release(lab, workers):
    worker = workers["abis"]
    lab.wait_state(worker.device, "quarantined")
    (incident,) = lab.incidents(worker.device)
    assert (incident["fault"], incident["healed"]) == ("install_failed", False)
    assert incident["recovery_steps"] == [*ADB, RESTART, WIPE, "cool off", "restart the worker"]
    assert "INSTALL_FAILED_NO_MATCHING_ABIS" in incident["reason"]
    (row,) = lab.enqueue(pool="abis")
    lab.sdk.avd("abis").heal()
    assert lab.nnlite("devices", "release", worker.device).returncode == 0
    lab.wait_done([row])
    assert [i["healed"] for i in lab.incidents(worker.device)] == [True]


def test_an_emulator_without_acceleration_is_an_error_with_a_hint(lab):
    lab.sdk.acceleration(False)
    try:
        worker = lab.worker("avd:slowest", pool="slowest")
        assert worker.end() == 1
    finally:
        lab.sdk.acceleration(True)
        lab.workers.remove(worker)
    assert "NNLITE_EMULATOR__ACCELERATION=false" in worker.log.read_text()
