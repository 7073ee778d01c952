"""Killed, frozen and stopped processes: emulators, adb servers, workers."""

from device.lab import AVD
from device.rig.faults import Fault
from device.rig.rig import frozen, kill

ADB = ("reconnect", "restart the adb server")
RESTART = "restart the emulator"


def test_a_killed_emulator_is_restarted(lab, worker, device):
    with lab.one_incident(worker) as incident:
        kill(lab.pid(worker, "emulator"))
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert (incident["fault"], incident["recovery_steps"]) == ("emulator_gone", [*ADB, RESTART])
    assert incident["benchmark_id"] == row


def test_a_frozen_emulator_is_restarted(lab, worker, device):
    with lab.one_incident(worker) as incident, frozen(lab.pid(worker, "emulator")):
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert incident["fault"] in {"no_answer", "offline"}
    assert incident["recovery_steps"] == [*ADB, RESTART]


def test_a_killed_adb_server_is_restarted_without_a_daemon(lab, worker, device):
    emulator = lab.pid(worker, "emulator")
    with lab.one_incident(worker) as incident:
        kill(lab.pid(worker, "adb-server"))
        (row,) = lab.enqueue()
        lab.wait_done([row])
    assert (incident["fault"], incident["recovery_steps"]) == ("adb_server_gone", list(ADB))
    assert lab.pid(worker, "emulator") == emulator, "the emulator was not touched"
    assert not lab.daemons(), "an adb daemon was started that no worker owns"


def test_a_stopped_worker_requeues_its_work_and_leaves_no_process(lab, worker, device):
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


def test_leftovers_of_a_killed_worker_are_ended_by_the_next_which_takes_its_work(lab, device):
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


def test_a_second_worker_for_the_same_device_is_an_error(lab, device):
    second = lab.worker(AVD)
    assert second.end() == 1
    assert "is owned by another worker" in second.log.read_text()
    lab.workers.remove(second)
