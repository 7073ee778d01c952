"""Golden snapshots of emulators: made once, loaded by each restart, dropped if useless; boots in turn."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from device.lab import Lab, RunningWorker
from device.rig.faults import Fault, Until
from device.rig.rig import kill
from waiting import wait_until

ADB = ["reconnect", "restart the adb server"]
RESTART = "restart the emulator"
_NUMBERS = itertools.count()
COLD = {"-no-snapshot-load", "-no-snapshot-save"}


class Avd:
    """The AVD of one worker, and what is known of its snapshot."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.folder = lab.folder / "avd" / f"{name}.avd"
        self.rig = lab.sdk.avd(name)
        self.worker = self.start()

    def start(self) -> RunningWorker:
        self.worker = self.lab.worker(f"avd:{self.name}", pool=self.name)
        self.lab.wait_state(self.worker.device, "ready")
        return self.worker

    def options(self) -> set[str]:
        """Return how the emulator that runs now was booted: its options, and the snapshot's name."""
        words = psutil.Process(self.lab.pid(self.worker, "emulator")).cmdline()
        return {word for word in words if "snapshot" in word or word.startswith("nnlite-")}

    @property
    def note(self) -> dict[str, Any]:
        note: dict[str, Any] = json.loads((self.folder / "nnlite-snapshot.json").read_text())
        return note

    def snapshots(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("snapshots/*"))

    def crash(self) -> dict[str, Any]:
        """Kill the emulator; return the incident."""
        with self.lab.one_incident(self.worker) as incident:
            kill(self.lab.pid(self.worker, "emulator"))
            self.lab.wait_done(self.lab.enqueue(pool=self.name))
        assert (incident["fault"], incident["recovery_steps"]) == ("emulator_gone", [*ADB, RESTART])
        return incident


@pytest.fixture
def avd(lab: Lab) -> Iterator[Avd]:
    """A worker's AVD after its first boot."""
    avd = Avd(lab, f"golden-{next(_NUMBERS)}")
    yield avd
    avd.worker.stop()


def test_the_first_boot_is_cold_and_each_later_one_loads_what_was_saved_then(avd):
    assert avd.options() == COLD
    saved = avd.snapshots()
    assert (avd.note["saved"], [avd.note["name"]]) == (True, saved)
    made = (avd.folder / "snapshots" / saved[0]).stat().st_mtime_ns
    avd.crash()
    assert {"-snapshot", "-force-snapshot-load", "-no-snapshot-save"} <= avd.options()
    avd.worker.stop()
    avd.start()
    assert saved[0] in avd.options()
    assert (avd.folder / "snapshots" / saved[0]).stat().st_mtime_ns == made, "it was saved once"
    assert "app installed" not in avd.worker.log.read_text()


def test_a_snapshot_that_cannot_be_loaded_is_replaced_after_a_cold_boot(avd):
    (name,) = avd.snapshots()
    (avd.folder / "snapshots" / name / "ram.bin").unlink()
    avd.crash()
    assert avd.options() == COLD
    assert avd.note == {"name": name, "saved": True, "dropped": 1}
    assert (avd.folder / "snapshots" / name / "ram.bin").exists()
    avd.crash()
    assert avd.note == {"name": name, "saved": True, "dropped": 0}, "it has helped"


def test_no_more_are_made_when_two_did_not_become_ready(avd):
    for _ in range(2):
        avd.rig.fault(Fault.NEVER_BOOTS, until=Until.COLD_BOOT)
        avd.crash()
        assert avd.options() == COLD
    assert (avd.note["saved"], avd.note["dropped"], avd.snapshots()) == (False, 2, [])
    avd.crash()
    assert avd.options() == COLD


def test_another_is_made_for_another_emulator_and_the_old_one_is_deleted(avd):
    (old,) = avd.snapshots()
    avd.worker.stop()
    properties = avd.lab.sdk.path / "emulator" / "source.properties"
    before = properties.read_text()
    properties.write_text("Pkg.Revision=36.1.9\n")
    try:
        avd.start()
        assert avd.options() == COLD
        (new,) = wait_until(avd.snapshots, "there is one snapshot")
        assert new == avd.note["name"] != old
    finally:
        properties.write_text(before)


def test_an_old_emulator_boots_cold_and_saves_nothing(lab):
    properties = lab.sdk.path / "emulator" / "source.properties"
    before = properties.read_text()
    properties.write_text("Pkg.Revision=34.2.13\n")
    try:
        old = Avd(lab, "old")
        assert (old.options(), old.snapshots()) == (COLD, [])
        old.worker.stop()
    finally:
        properties.write_text(before)


def test_two_emulators_of_one_host_do_not_boot_at_the_same_time(lab):
    first = lab.sdk.avd("first")
    first.fault(Fault.BOOTS_SLOWLY, seconds=3600)
    booting = lab.worker("avd:first", EMULATOR__BOOTS_AT_ONCE="1", ANDROID__BOOT_TIMEOUT_S="3600")
    lab.wait(lambda: _started(lab, booting), "the first emulator boots")
    waiting = lab.worker("avd:second", EMULATOR__BOOTS_AT_ONCE="1")
    lab.wait(lambda: "waiting until another emulator" in waiting.log.read_text(), "the second waits")
    assert not _started(lab, waiting)
    first.heal()
    for worker in (booting, waiting):
        lab.wait_state(worker.device, "ready")
        worker.stop()


def _started(lab: Lab, worker: RunningWorker) -> list[Path]:
    return list(lab.folder.glob(f"devices/{worker.device.replace(':', '_')}/emulator.process.json"))
