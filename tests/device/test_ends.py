"""Processes that are killed, frozen or told to stop: emulators, adb servers, workers."""

from device.lab import AVD
from device.rig.faults import Fault
from device.rig.rig import frozen, kill

ADB = ("reconnect", "restart the adb server")
RESTART = "restart the emulator"


def test_an_emulator_that_is_killed_is_started_again(lab, worker, device):
    with lab.one_incident(worker) as found:
        kill(lab.pid(worker, "emulator"))
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert (found["fault"], found["recovery_steps"]) == ("emulator_gone", [*ADB, RESTART])
    assert found["benchmark_id"] == row


def test_a_frozen_emulator_is_started_again(lab, worker, device):
    with lab.one_incident(worker) as found, frozen(lab.pid(worker, "emulator")):
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert found["fault"] in {"no_answer", "offline"}
    assert found["recovery_steps"] == [*ADB, RESTART]


def test_an_adb_server_that_is_killed_is_started_again_and_no_other_in_its_place(lab, worker, device):
    emulator = lab.pid(worker, "emulator")
    with lab.one_incident(worker) as found:
        kill(lab.pid(worker, "adb-server"))
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert (found["fault"], found["recovery_steps"]) == ("adb_server_gone", list(ADB))
    assert lab.pid(worker, "emulator") == emulator, "the emulator was not touched"
    assert not lab.daemons(), "nobody started an adb daemon that nobody owns"


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
    assert second.end() == 1
    assert "is owned by another worker" in second.log.read_text()
    lab.workers.remove(second)
