"""Several devices on one host: each worker sees its own device, and all work is done."""

from collections import Counter

import pytest

from device.lab import Lab, RunningWorker
from device.rig.faults import Fault
from device.rig.rig import RigPhone


@pytest.fixture(scope="module")
def phone(lab: Lab) -> RigPhone:
    return lab.rig.phone("pixel")


@pytest.fixture(scope="module")
def fleet(lab: Lab, phone: RigPhone) -> list[RunningWorker]:
    """Two emulators and a phone, all of one pool."""
    devices = ("avd:fleet-0", "avd:fleet-1", f"tcp:{phone.address}")
    workers = [lab.worker(device) for device in devices]
    for worker in workers:
        lab.wait_state(worker.device, "ready")
    return workers


def test_fifteen_benchmarks_are_spread_over_three_devices_of_which_one_fails_every_third(lab, fleet):
    lab.sdk.avd("fleet-0").fault(Fault.APP_CRASHES, every=3, runs="benchmark")
    rows = lab.enqueue(15)
    lab.wait_done(rows)
    done = lab.cluster.rows("SELECT d.name, m.verdict FROM measurement m JOIN device d ON d.id = m.device_id")
    assert Counter(row["verdict"] for row in done) == {"valid": 15}
    assert Counter(row["name"] for row in done).keys() == {worker.device for worker in fleet}
    faults = {worker.device: [i["fault"] for i in lab.incidents(worker.device)] for worker in fleet}
    assert set(faults[fleet[0].device]) == {"app_crashed"}
    assert not faults[fleet[1].device] and not faults[fleet[2].device], "no cross-talk"
    devices = lab.cluster.rows(
        "SELECT DISTINCT report #>> '{device,device_type}' AS type, report #>> '{device,kind}' AS kind "
        "FROM benchmark"
    )
    assert {(row["type"], row["kind"]) for row in devices} == {("rig", "emulator"), ("rig", "phone")}


def test_each_adb_server_sees_one_device_and_no_other(lab, fleet):
    serials_by_worker = [lab.attached(worker) for worker in fleet]
    assert [len(serials) for serials in serials_by_worker] == [1, 1, 1]
    assert len({serial for serials in serials_by_worker for serial in serials}) == 3
