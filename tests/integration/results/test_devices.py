"""Device rows: faults, recovery steps, recovery, waiting."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from integration.canned import CONTEXT
from integration.conftest import Cluster
from nnlite.errors import NnliteError
from nnlite.results import queries
from nnlite.results.devices import (
    add_recovery_step,
    device_row,
    open_incident,
    record_device_state,
    record_ready,
    release_device,
)
from nnlite.vocabulary import DeviceKind, DeviceStatus, Fault

NODE = "benchmark-avd:pixel4-1@lab"
EMULATOR = CONTEXT.model_copy(update={"name": "avd:pixel4-1@lab"})


def write(cluster: Cluster, status: DeviceStatus, name: str = "avd:pixel4-1@lab", **how: Any) -> uuid.UUID:
    how = {"owner_node": NODE} | how
    return record_device_state(cluster.engine, name, DeviceKind.EMULATOR, "pixel4", status, **how)


def overview(cluster: Cluster) -> dict[str, Any]:
    (row,) = queries.devices(cluster.engine)
    return row


@pytest.fixture
def device(cluster: Cluster) -> uuid.UUID:
    """An emulator that starts for the first time."""
    return write(cluster, DeviceStatus.STARTING)


def test_a_device_that_never_came_up_has_a_row(cluster, device):
    row = device_row(cluster.engine, "avd:pixel4-1@lab")
    assert (row.id, row.state, row.owner_node, row.recovery_step) == (
        device,
        DeviceStatus.STARTING,
        NODE,
        None,
    )
    assert overview(cluster)["device_type"] is None
    assert device_row(cluster.engine, "avd:other@lab") is None


def test_writing_a_device_state_keeps_its_context(cluster):
    first = record_ready(cluster.engine, CONTEXT, NODE)
    assert write(cluster, DeviceStatus.STARTING, CONTEXT.name) == first
    assert overview(cluster)["device_type"] == "Pixel 4"


def test_a_state_lasts_until_another_is_written(cluster, device):
    since = overview(cluster)["state_since"]
    write(cluster, DeviceStatus.STARTING, reason="boots")
    assert (overview(cluster)["state_since"], overview(cluster)["reason"]) == (since, "boots")
    write(cluster, DeviceStatus.READY)
    assert overview(cluster)["state_since"] > since
    assert overview(cluster)["reason"] is None


def test_a_recovery_step_survives_restarts_until_the_device_is_ready(cluster, device):
    add_recovery_step(cluster.engine, device, "cool off")
    for status in (DeviceStatus.COOLING_OFF, DeviceStatus.STOPPED, DeviceStatus.STARTING):
        write(cluster, status)
        assert device_row(cluster.engine, "avd:pixel4-1@lab").recovery_step == "cool off"
    write(cluster, DeviceStatus.READY)
    assert device_row(cluster.engine, "avd:pixel4-1@lab").recovery_step is None


def test_an_incident_has_its_fault_its_rungs_and_how_long_it_took(cluster, device):
    number = open_incident(cluster.engine, device, Fault.OFFLINE, "adb says offline")
    add_recovery_step(cluster.engine, device, "reconnect")
    add_recovery_step(cluster.engine, device, "restart the emulator")
    (incident,) = queries.incidents(cluster.engine)
    assert (incident["incident_id"], incident["device"], incident["fault"]) == (
        number, "avd:pixel4-1@lab", "offline",
    )  # fmt: skip
    assert incident["recovery_steps"] == ["reconnect", "restart the emulator"]
    assert (incident["healed"], incident["healed_after_ns"], incident["model"]) == (False, None, None)
    assert overview(cluster)["recovery_step"] == "restart the emulator"
    record_ready(cluster.engine, EMULATOR, NODE)
    (incident,) = queries.incidents(cluster.engine, "avd:pixel4-1@lab")
    assert incident["healed"] and incident["healed_after_ns"] > 0
    assert incident["healed_at"] > incident["created_at"]
    after = overview(cluster)
    assert (after["recovery_step"], after["last_fault"], after["open_incidents"]) == (None, "offline", 0)
    assert after["last_healed_after_ns"] == incident["healed_after_ns"]


def test_a_fault_while_one_is_open_belongs_to_it(cluster, device):
    first = open_incident(cluster.engine, device, Fault.OFFLINE, "adb says offline")
    for _ in range(2):
        again = open_incident(cluster.engine, device, Fault.BOOT_TIMEOUT, "no boot within 300 s")
        assert again == first
    (incident,) = queries.incidents(cluster.engine)
    assert incident["fault"] == "offline"
    assert incident["reason"] == "adb says offline\nboot_timeout: no boot within 300 s"
    open_incident(cluster.engine, device, Fault.OFFLINE, "adb says offline")
    assert queries.incidents(cluster.engine)[0]["reason"].count("\n") == 2, (
        "a new line: it came after another"
    )


def test_the_same_fault_again_and_again_is_one_line(cluster, device):
    for _ in range(3):
        open_incident(cluster.engine, device, Fault.OFFLINE, "adb says offline")
    assert queries.incidents(cluster.engine)[0]["reason"] == "adb says offline"


def test_a_device_that_fails_for_ever_does_not_fill_the_database(cluster, device):
    for number in range(30):
        open_incident(cluster.engine, device, Fault.OFFLINE, f"{number} " + "x" * 2000)
    assert len(queries.incidents(cluster.engine)[0]["reason"]) < 25_000


def test_after_healing_the_next_fault_is_an_incident_of_its_own(cluster, device):
    open_incident(cluster.engine, device, Fault.OFFLINE, "first")
    record_ready(cluster.engine, EMULATOR, NODE)
    open_incident(cluster.engine, device, Fault.APP_HUNG, "second")
    assert [row["reason"] for row in queries.incidents(cluster.engine)] == ["second", "first"]
    assert [row["reason"] for row in queries.incidents(cluster.engine, limit=1)] == ["second"]
    assert (overview(cluster)["incidents"], overview(cluster)["open_incidents"]) == (2, 1)


def test_faults_that_are_written_at_once_are_one_incident(cluster, device):
    with ThreadPoolExecutor(4) as threads:
        numbers = list(
            threads.map(
                lambda number: open_incident(cluster.engine, device, Fault.OFFLINE, str(number)), range(8)
            )
        )
    assert len(set(numbers)) == 1
    assert len(queries.incidents(cluster.engine)) == 1


def test_a_recovery_step_without_an_incident_is_stored_in_the_device_only(cluster, device):
    add_recovery_step(cluster.engine, device, "reconnect")
    assert (overview(cluster)["recovery_step"], queries.incidents(cluster.engine)) == ("reconnect", [])


def test_any_text_of_a_device_can_be_stored(cluster, device):
    open_incident(cluster.engine, device, Fault.BAD_REPORT, "a\0b \ud800")
    write(cluster, DeviceStatus.FAULTY, reason="\0")
    assert queries.incidents(cluster.engine)[0]["reason"] == "a\ufffdb ?"


@pytest.mark.parametrize("status", DeviceStatus)
def test_a_worker_cannot_end_a_quarantine(cluster, device, status):
    add_recovery_step(cluster.engine, device, "wipe")
    write(cluster, DeviceStatus.QUARANTINED, reason="nothing helped")
    write(cluster, status, reason="starts again", owner_node=None)
    record_ready(cluster.engine, EMULATOR, None)
    row = device_row(cluster.engine, "avd:pixel4-1@lab")
    assert (row.state, row.recovery_step, row.reason) == (DeviceStatus.QUARANTINED, "wipe", "nothing helped")
    assert row.owner_node is None


def test_a_person_does_and_the_ladder_begins_anew(cluster, device):
    write(cluster, DeviceStatus.QUARANTINED, reason="nothing helped", recovery_step="wipe")
    release_device(cluster.engine, "avd:pixel4-1@lab")
    row = device_row(cluster.engine, "avd:pixel4-1@lab")
    assert (row.state, row.recovery_step, row.reason) == (DeviceStatus.STARTING, None, None)
    write(cluster, DeviceStatus.READY)
    assert overview(cluster)["state"] == "ready"


def test_only_quarantined_devices_can_be_released(cluster, device):
    with pytest.raises(NnliteError, match=r"'avd:pixel4-1@lab' is starting, not in quarantine"):
        release_device(cluster.engine, "avd:pixel4-1@lab")
    with pytest.raises(NnliteError, match=r"no device 'pixel'; the devices are avd:pixel4-1@lab"):
        release_device(cluster.engine, "pixel")


def test_the_last_canary_is_stored_in_the_device(cluster, device):
    assert overview(cluster)["canary_at"] is None
    record_ready(cluster.engine, EMULATOR, NODE, 12_345_678)
    assert overview(cluster)["canary_ns"] == 12_345_678
    assert overview(cluster)["canary_at"] is not None
