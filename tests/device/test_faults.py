"""Every fault of a device, through a real worker: the right incident and class, a finished benchmark."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from device.lab import Lab, RunningWorker
from device.rig.faults import Fault, Until
from device.rig.rig import Rig, RigDevice
from integration.conftest import Cluster
from nnlite.local import Endpoints
from nnlite.queue.messages import Messenger
from nnlite.results.database import engine_for
from nnlite.settings import Settings

AVD = "avd:lab-0"


@pytest.fixture(scope="module")
def lab(embedded: Endpoints, make_database: Callable[..., str], tmp_path_factory: Any) -> Iterator[Lab]:
    """One cluster for all of this module: what one fault leaves behind would show in the next."""
    folder: Path = tmp_path_factory.mktemp("lab")
    settings = Settings(
        home=folder, database_url=make_database(), broker_url=embedded.broker_url, _env_file=None
    )
    engine = engine_for(settings.database_url)
    messenger = Messenger(settings.broker_url, 5)
    rig = Rig(folder / "rig")
    lab = Lab.make(Cluster(engine, messenger, settings), rig, folder)
    yield lab
    lab.close()
    rig.close()
    messenger.close()
    engine.dispose()


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
    lab.wait_state(worker.device, "ready")


@dataclass(frozen=True)
class Case:
    """A fault that one benchmark meets."""

    fault: Fault
    #: The kind of the incident.
    incident: str
    #: Where the attempt was when it met the fault.
    stage: str
    #: The rungs that were climbed; the last one helped.
    rungs: tuple[str, ...] = ("reconnect",)
    times: int | None = 1
    until: Until | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.fault.value, *map(str, self.parameters.values())])


SERVER = "restart the adb server"
RESTART = "restart the emulator"
WIPE = "wipe its data"

MET_BY_A_BENCHMARK = [
    Case(Fault.APP_CRASHES, "app_crashed", "run", parameters={"runs": "benchmark"}),
    Case(Fault.APP_CRASHES, "app_crashed", "canary", parameters={"runs": "canary"}),
    Case(Fault.APP_HANGS, "app_hung", "run", parameters={"runs": "benchmark"}),
    Case(Fault.RESULT_TRUNCATED, "bad_report", "run", parameters={"runs": "benchmark"}),
    Case(Fault.RESULT_GARBAGE, "bad_report", "run", parameters={"runs": "benchmark"}),
    Case(Fault.WRONG_OUTPUT, "wrong_canary", "canary", parameters={"runs": "canary"}),
    Case(Fault.DIES_MID_PUSH, "disconnected", "push", (("reconnect", SERVER, RESTART))),
    Case(Fault.DIES_MID_RUN, "disconnected", "run", (("reconnect", SERVER, RESTART))),
    Case(Fault.SHELL_HANGS, "no_answer", "push", ("reconnect", SERVER, RESTART), None, Until.RESTART),
    Case(Fault.OFFLINE, "offline", "push", ("reconnect", SERVER, RESTART), None, Until.RESTART),
    Case(Fault.UNAUTHORIZED, "unauthorized", "push", ("reconnect", SERVER, RESTART), None, Until.RESTART),
    Case(
        Fault.STORAGE_FULL,
        "storage_full",
        "push",
        ("reconnect", SERVER, RESTART, WIPE),
        None,
        Until.WIPE,
    ),
]


@pytest.mark.parametrize("case", MET_BY_A_BENCHMARK, ids=str)
def test_a_fault_that_a_benchmark_meets_is_healed_and_the_benchmark_is_finished(lab, worker, device, case):
    before = len(lab.incidents(worker.device))
    device.fault(case.fault, times=case.times, until=case.until, **case.parameters)
    (row,) = lab.enqueue()
    lab.wait_done([row])
    lab.wait_state(worker.device, "ready")
    (incident,) = lab.incidents(worker.device)[before:]
    assert (incident["fault"], tuple(incident["rungs"])) == (case.incident, case.rungs), incident["reason"]
    assert incident["healed"]
    assert incident["benchmark_id"] == row
    failed, done = lab.attempts(row)
    assert (failed, done[0]) == (("device", case.stage), "done")
    assert lab.benchmark(row)["strikes"] == 0
