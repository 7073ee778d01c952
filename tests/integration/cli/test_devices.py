"""The commands on devices, and results as files for other programs."""

import json
import socket

import pytest

from integration.canned import CONTEXT, finish_benchmark, finish_conversion, record_lab_phone
from nnlite.cli import devices as module
from nnlite.host.adb_services import AttachedDevice
from nnlite.results.devices import (
    add_recovery_step,
    open_incident,
    record_device_state,
    record_ready,
)
from nnlite.vocabulary import DeviceKind, DeviceStatus, Fault

pytestmark = pytest.mark.usefixtures("servers")
EMULATOR = "avd:pixel4-1@lab"


@pytest.fixture(autouse=True)
def no_adb_server(environment):
    """A port on which nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment.setenv("ANDROID_ADB_SERVER_PORT", str(probe.getsockname()[1]))


@pytest.fixture
def lab(cluster):
    """A phone that measures, and an emulator that nothing helped."""
    phone = record_lab_phone(cluster, DeviceStatus.FAULTY, "benchmark-usb:R58@lab")
    open_incident(cluster.engine, phone, Fault.DISCONNECTED, "unplugged")
    record_ready(cluster.engine, CONTEXT, "benchmark-usb:R58@lab", 12_345_678)
    emulator = record_device_state(
        cluster.engine, EMULATOR, DeviceKind.EMULATOR, "pixel4", DeviceStatus.QUARANTINED,
        owner_node="benchmark-avd:pixel4-1@lab", reason="nothing helped", recovery_step="wipe",
    )  # fmt: skip
    open_incident(cluster.engine, emulator, Fault.BOOT_TIMEOUT, "no boot within 300 s")
    add_recovery_step(cluster.engine, emulator, "wipe")
    return cluster


def test_devices_are_listed_with_state_owner_canary_and_last_incident(nnlite, lab):
    said = nnlite("devices")
    assert said.code == 0
    emulator, phone = [line for line in said.out.splitlines() if "@lab" in line]
    for word in (EMULATOR, "pixel4", "quarantined", "wipe", "nothing helped", "boot_timeout", "not healed"):
        assert word in emulator
    for word in (
        "lab-phone",
        "phones",
        "ready",
        "benchmark-usb:R58@lab",
        "12.3 (",
        "disconnected",
        "healed after",
    ):
        assert word in phone
    assert "no adb server answers on port" in said.err


def test_devices_as_json_have_every_column(nnlite, lab):
    emulator, phone = nnlite("devices", "--json").rows
    assert (emulator["device"], emulator["state"], emulator["recovery_step"]) == (
        EMULATOR,
        "quarantined",
        "wipe",
    )
    assert (phone["canary_ns"], phone["last_fault"], phone["last_healed"]) == (
        12_345_678,
        "disconnected",
        True,
    )
    assert phone["attached_serial"] is None


def test_connected_devices_are_listed_with_their_worker_or_the_option_for_one(nnlite, lab, environment):
    lab.change("UPDATE device SET name = 'usb:R58' WHERE name = 'lab-phone'")
    seen = [
        AttachedDevice(serial="R58", state="device", model="Pixel_4"),
        AttachedDevice(serial="X99", state="unauthorized"),
    ]
    environment.setattr(module, "attached_devices", lambda port: seen)
    rows = {row["attached_serial"]: row for row in nnlite("devices", "--json").rows if row["attached_serial"]}
    assert (rows["R58"]["device"], rows["R58"]["attached_model"]) == ("usb:R58", "Pixel_4")
    assert (rows["X99"]["device"], rows["X99"]["attached_state"]) == (None, "unauthorized")
    table = nnlite("devices").out
    assert "--device usb:X99" in table and "--device usb:R58" not in table


def test_without_devices_there_is_an_empty_listing(nnlite, cluster):
    assert nnlite("devices", "--json").rows == []
    assert nnlite("devices").code == 0


def test_incidents_are_listed_newest_first_and_by_device(nnlite, lab):
    assert [row["fault"] for row in nnlite("devices", "incidents", "--json").rows] == [
        "boot_timeout", "disconnected",
    ]  # fmt: skip
    assert [row["fault"] for row in nnlite("devices", "incidents", "--limit", "1", "--json").rows] == [
        "boot_timeout"
    ]
    table = nnlite("devices", "incidents", EMULATOR).out
    assert "not yet" in table and "wipe" in table and "disconnected" not in table
    said = nnlite("devices", "incidents", "pixel")
    assert (said.code, f"the devices are {EMULATOR}, lab-phone" in said.err) == (1, True)


def test_a_quarantine_is_ended_by_name(nnlite, lab):
    assert nnlite("devices", "release", EMULATOR).code == 0
    assert nnlite("devices", "--json").rows[0]["state"] == "starting"
    again = nnlite("devices", "release", EMULATOR)
    assert (again.code, "is starting, not in quarantine" in again.err) == (1, True)


def test_export_writes_results_and_reports_skipped_ones(nnlite, cluster, tmp_path):
    row = cluster.conversion(cluster.submit("one", name="night", pools=("phones", "host")).id)
    phone, _host = finish_conversion(cluster, row["id"])
    finish_benchmark(cluster, phone.row_id)
    said = nnlite("export", "lemur", str(tmp_path / "tree"), "--campaign", "night")
    assert (said.code, said.out) == (0, "")
    assert said.err.splitlines()[-1] == (
        f"1 result written to {tmp_path}/tree; 1 without a result (nnlite failures)"
    )
    (file,) = (tmp_path / "tree").rglob("android_*.json")
    assert json.loads(file.read_text())["unit"] == "CPU"
    wrong = nnlite("export", "lemur", str(tmp_path / "tree"), "--campaign", "nigth")
    assert (wrong.code, "no campaign 'nigth'" in wrong.err) == (1, True)


def test_status_as_json_lists_running_work(nnlite, cluster):
    row = cluster.conversion(cluster.submit("one", name="night", pools=("phones",)).id)
    assert nnlite("status", "--json").rows[0]["running"] == []
    cluster.claim(row["id"])
    (running,) = nnlite("status", "night", "--json").rows[0]["running"]
    assert (running["work"], running["model"], running["stage"], running["device"]) == (
        "conversion", "one", "claim", None,
    )  # fmt: skip
