"""Phones: waited for when unplugged, paused when warm, rebooted when they hang, never started."""

import os
from collections.abc import Iterator

import pytest

from device.lab import Lab, RunningWorker
from device.rig.faults import Fault, Until
from device.rig.rig import RigPhone


@pytest.fixture(scope="module")
def phone(lab: Lab) -> RigPhone:
    return lab.rig.phone("pixel")


@pytest.fixture(scope="module")
def worker(lab: Lab, phone: RigPhone) -> RunningWorker:
    running = lab.worker(f"tcp:{phone.address}", pool="phones")
    lab.wait_state(running.device, "ready")
    return running


@pytest.fixture(autouse=True)
def healthy(lab: Lab, phone: RigPhone, worker: RunningWorker) -> Iterator[None]:
    """Every test begins and ends with a phone that works."""
    yield
    phone.heal()
    cool(phone)
    lab.wait_state(worker.device, "ready")


def cool(phone: RigPhone) -> None:
    phone.state(battery_percent=100, battery_c=25.0, thermal_status=0)


def test_a_phone_is_measured_without_noise_isolation(lab, worker):
    (row,) = lab.enqueue(pool="phones")
    lab.wait_done([row])
    report = lab.benchmark(row)["report"]
    assert (report["emulator"], report["device"]["kind"], report["device_type"]) == (False, "phone", "rig")
    assert report["measurements"][0]["quiet"]["mode"] == "own_machine"
    assert report["measurements"][0]["before"]["frequencies_khz"]


def test_a_phone_measures_on_its_fast_cores_where_that_is_asked_for(lab, phone, worker):
    (row,) = lab.enqueue(pool="phones", cores="fast", sustained=2, energy=2, counters=2)
    lab.wait_done([row])
    (measured,) = lab.measurements(row)
    last = max(os.sched_getaffinity(0))
    assert (measured["asked_cores"], measured["cores"], measured["verdict"]) == ("fast", [last], "valid")
    assert "not_bound" not in measured["conditions"]
    assert measured["sustained"]["error"] is None
    (report,) = lab.benchmark(row)["report"]["measurements"]
    assert (measured["clocks"], report["clocks"]["note"]) == ("fixed", None), "by the phone's own answer"
    assert (phone.data / "system/fixed_performance").read_text() == "true\n"
    assert measured["energy_method"] is report["energy"] is None
    # Its clock runs ahead of the machine's: the pass may be over before it is asked.
    assert measured["counters"]["error"] and not measured["counters"]["per_inference"]
    assert report["energy_error"].startswith("the phone has no power rails, and its battery was plugged in")


def test_an_unplugged_phone_is_waited_for(lab, phone, worker):
    before = len(lab.incidents(worker.device))
    phone.fault(Fault.APP_HANGS, runs="benchmark", times=1)
    (row,) = lab.enqueue(pool="phones")
    lab.wait(lambda: lab.benchmark(row)["stage"] == "run", "run")
    phone.unplug()
    lab.wait_state(worker.device, "waiting")
    phone.plug()
    lab.wait_done([row])
    lab.wait_state(worker.device, "ready")
    (incident,) = lab.incidents(worker.device)[before:]
    assert incident["fault"] in {"disconnected", "offline"}, "adb may not have noticed yet"
    assert set(incident["recovery_steps"]) <= {"reconnect"} and incident["healed"]
    assert not list((phone.data / "local/tmp/nnlite").glob("*.raw")), "nor what the run left on the phone"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"battery_percent": 10}, "battery at 10 %"),
        ({"battery_c": 45.0}, "battery at 45 degrees"),
        ({"thermal_status": 3}, "thermal status 3"),
    ],
    ids=["battery", "temperature", "thermal status"],
)
def test_a_phone_pauses_while_it_is_warm_or_low_on_battery(lab, phone, worker, state, reason):
    phone.state(**state)
    rows = lab.enqueue(2, pool="phones")
    lab.wait_state(worker.device, "waiting")
    assert reason in lab.device(worker.device)["reason"]
    assert "queued" in {lab.benchmark(row)["state"] for row in rows}
    cool(phone)
    lab.wait_done(rows)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.USER_RESTRICTED, "switch on 'Install via USB' in the phone's developer options"),
        (Fault.LOCKED, "was not unlocked since it started: unlock its screen once"),
    ],
)
def test_a_phone_that_needs_its_owner_is_waited_for_without_a_fault(lab, fault, reason):
    phone = lab.rig.phone(f"owned-{fault}", port=5565 if fault is Fault.LOCKED else 5567)
    phone.fault(fault)
    worker = lab.worker(f"tcp:{phone.address}", pool=f"owned-{fault}", ANDROID__READY_TIMEOUT_S="2")
    lab.wait_state(worker.device, "waiting")
    assert reason in lab.device(worker.device)["reason"]
    phone.heal()
    lab.wait_state(worker.device, "ready")
    assert lab.incidents(worker.device) == []


def test_the_app_runs_as_the_user_who_has_the_screen_and_the_clocks_are_let_go_at_the_end(lab):
    phone = lab.rig.phone("second-user", port=5569)
    phone.state(user=10)
    worker = lab.worker(f"tcp:{phone.address}", pool="second-user")
    (row,) = lab.enqueue(pool="second-user")
    lab.wait_done([row])
    package = phone.data / "system/packages/org.nnlite.benchmark"
    assert package.read_text().split()[1] == "10"
    assert worker.stop() == 0
    assert (phone.data / "system/fixed_performance").read_text() == "false\n"


def test_a_run_that_was_not_in_front_is_repeated(lab, phone, worker):
    before = len(lab.incidents(worker.device))
    phone.fault(Fault.NOT_IN_FRONT, runs="benchmark", times=1)
    (row,) = lab.enqueue(pool="phones")
    lab.wait_done([row])
    (measurement,) = lab.benchmark(row)["report"]["measurements"]
    assert measurement["in_front"] is True and not phone.faulty(Fault.NOT_IN_FRONT)
    assert len(lab.incidents(worker.device)) == before


def test_an_app_that_never_comes_to_the_front_is_a_fault(lab, phone, worker):
    before = len(lab.incidents(worker.device))
    phone.fault(Fault.NOT_IN_FRONT, runs="benchmark", times=3)
    (row,) = lab.enqueue(pool="phones")
    lab.wait_done([row])
    lab.wait_state(worker.device, "ready")
    (incident,) = lab.incidents(worker.device)[before:]
    assert incident["fault"] == "not_in_front"
    assert "was not in front in 3 runs; now the focus is on mCurrentFocus=Window{" in incident["reason"]


def test_an_activity_that_the_phone_blocks_is_started_by_the_shell(lab, phone, worker):
    phone.fault(Fault.ACTIVITY_BLOCKED, times=1)
    (row,) = lab.enqueue(pool="phones")
    lab.wait_done([row])
    assert lab.benchmark(row)["report"]["measurements"][0]["in_front"] is True


def test_android_shows_no_more_error_dialogs_on_a_phone_that_is_ready(lab, phone, worker):
    lab.wait_state(worker.device, "ready")
    assert (phone.data / "system/settings/global/hide_error_dialogs").read_text() == "1\n"


def test_a_phone_that_hangs_is_rebooted(lab, phone, worker):
    before = len(lab.incidents(worker.device))
    phone.fault(Fault.SHELL_HANGS, until=Until.RESTART)
    (row,) = lab.enqueue(pool="phones")
    lab.wait_done([row])
    lab.wait_state(worker.device, "ready")
    (incident,) = lab.incidents(worker.device)[before:]
    assert incident["fault"] == "no_answer"
    assert incident["recovery_steps"] == ["reconnect", "restart the adb server", "reboot the phone"]
