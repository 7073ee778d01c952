"""A device that misbehaves is healed step by step, and given up in the end; the work goes on elsewhere."""

import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Engine

from integration.canned import CONTEXT, finish_conversion, stored_canary
from integration.conftest import Cluster, living_owner
from nnlite.artifacts.store import ArtifactStore
from nnlite.db.engine import engine_for
from nnlite.results.devices import device_row, record_device_state, release_device
from nnlite.settings import Settings
from nnlite.settings.groups import AndroidSettings, PhoneSettings
from nnlite.vocabulary import DeviceKind, DeviceStatus, Fault, Stage, WorkKind
from nnlite.worker.attempt import Outcome, WorkerContext, work
from nnlite.worker.celery_worker import EXIT_FAULT
from nnlite_benchmark import device_manager as keeper
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.device import DeviceFailure, RecoveryStep
from nnlite_benchmark.device_manager import DeviceManager, StartAnewError
from nnlite_benchmark.protocol import canary

NODE = "benchmark@here"


class ToyDevice:
    """A device in memory, whose faults the test deals."""

    name = CONTEXT.name
    pool = "host"
    canary_ns = 12_000_000

    def __init__(self, kind: DeviceKind = DeviceKind.EMULATOR) -> None:
        self.kind = kind
        #: What each `prepare` and `check` finds, in turn; then the device is ready.
        self.found: list[Fault | None] = []
        #: What it does wrong in `run`.
        self.in_run: Fault | None = Fault.APP_HUNG
        self.rests: list[str | None] = []
        self.away: frozenset[Fault] = frozenset()
        self.climbed: list[str] = []

    def prepare(self) -> None:
        self.check()

    def check(self) -> None:
        if fault := self.found.pop(0) if self.found else None:
            raise DeviceFailure(fault, Stage.PREPARE, f"toy: {fault}")

    def recovery_steps(self) -> tuple[RecoveryStep, ...]:
        def recovery_step(name: str) -> RecoveryStep:
            return RecoveryStep(name=name, climb=lambda: self.climbed.append(name))

        return tuple(map(recovery_step, ("reconnect", "restart the emulator", "wipe its data")))

    def rest_reason(self) -> str | None:
        return self.rests.pop(0) if self.rests else None

    def is_away(self, fault: Fault) -> bool:
        return fault in self.away

    def context(self) -> object:
        return CONTEXT

    def loaded(self, *_: object) -> object:
        return nullcontext()

    def run(self, *_: object, **__: object) -> object:
        assert self.in_run is not None
        raise DeviceFailure(self.in_run, Stage.RUN, f"toy: {self.in_run}")

    def close(self) -> None:
        self.climbed.append("close")


@pytest.fixture
def device() -> ToyDevice:
    return ToyDevice()


@pytest.fixture
def settings(cluster: Cluster) -> Settings:
    return cluster.settings.model_copy(
        update={
            "android": AndroidSettings(cool_off_s=0),
            "phone": PhoneSettings(gate_poll_s=0.01),
        }
    )


@pytest.fixture
def the(cluster: Cluster, settings: Settings, device: ToyDevice, tmp_path: Path) -> DeviceManager:
    """The keeper of the device."""
    stop = threading.Event()
    context = WorkerContext(
        engine=cluster.engine,
        broker=cluster.broker,
        owner=living_owner(NODE),
        settings=settings,
        stopping=stop.is_set,
    )
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    benchmarker = Benchmarker(context=context, store=store, device=device, stop=stop)
    return DeviceManager(
        engine=cluster.engine,
        device=device,
        benchmarker=benchmarker,
        settings=settings,
        node=NODE,
        stop=stop,
    )


@pytest.fixture
def row(cluster: Cluster, the: DeviceManager) -> uuid.UUID:
    conversion = cluster.conversion(cluster.submit("BagNet").id)["id"]
    stored = stored_canary(the.benchmarker.store, canary.MODEL_FILE)
    (message,) = finish_conversion(cluster, conversion, **stored)
    return message.row_id


@pytest.fixture(autouse=True)
def quick_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_RELEASE_POLL_S", 0.01)


def consuming(the: DeviceManager, *rows: uuid.UUID) -> Callable[[], int]:
    """Take one row each time, as the queue's worker would; then be told to stop."""
    left = list(rows)

    def consume() -> int:
        if not left:
            the.stop.set()
            return 0
        benchmarker = the.benchmarker
        outcome = work(benchmarker.context, WorkKind.BENCHMARK, left[0], benchmarker.perform, 120)
        assert outcome is Outcome.FAILED
        benchmarker.after(left.pop(0))
        return 0

    return consume


def incidents(cluster: Cluster) -> list[tuple[object, ...]]:
    rows = cluster.rows("SELECT fault, recovery_steps, healed, benchmark_id FROM incident ORDER BY id")
    return [tuple(row.values()) for row in rows]


def test_a_fault_gives_the_work_back_and_the_first_rung_that_helps_heals_it(cluster, the, device, row):
    device.found = [None, Fault.OFFLINE, None]
    assert the.keep(consuming(the, row)) == 0
    assert cluster.rows("SELECT state, failure_class, strikes FROM benchmark") == [
        {"state": "queued", "failure_class": "device", "strikes": 0}
    ]
    assert device.climbed == ["reconnect", "restart the emulator"]
    assert incidents(cluster) == [("app_hung", device.climbed, True, row)]
    found = device_row(cluster.engine, device.name)
    assert (found.state, found.recovery_step, found.owner_node) == (DeviceStatus.STOPPED, None, None)
    (written,) = cluster.rows("SELECT canary_ns FROM device")
    assert written["canary_ns"] == device.canary_ns


def test_a_fault_that_comes_back_at_once_is_healed_one_rung_higher(cluster, the, device, row):
    device.in_run = Fault.OFFLINE
    the.keep(consuming(the, row, row))
    assert device.climbed == ["reconnect", "restart the emulator"]
    assert [recovery_steps for _, recovery_steps, _, _ in incidents(cluster)] == [
        ["reconnect"],
        ["restart the emulator"],
    ]


def test_an_app_that_crashes_again_does_not_speak_against_the_device(cluster, the, device, row):
    device.in_run = Fault.APP_CRASHED
    the.keep(consuming(the, row, row))
    assert device.climbed == ["reconnect", "reconnect"]


def test_a_device_that_does_not_come_up_is_healed_before_it_takes_work(cluster, the, device, row):
    device.found = [Fault.BOOT_TIMEOUT, Fault.BOOT_TIMEOUT, None]
    taken = []

    def consume() -> int:
        taken.append(device_row(cluster.engine, device.name).state)
        the.stop.set()
        return 0

    the.keep(consume)
    assert taken == [DeviceStatus.READY]
    assert incidents(cluster) == [("boot_timeout", ["reconnect", "restart the emulator"], True, None)]


def test_when_no_rung_helps_the_worker_cools_off_and_starts_anew(cluster, the, device):
    device.found = [Fault.OFFLINE] * 4
    with pytest.raises(StartAnewError):
        the.keep(consuming(the))
    found = device_row(cluster.engine, device.name)
    assert (found.state, found.recovery_step) == (DeviceStatus.COOLING_OFF, keeper.START_ANEW)
    ((_, recovery_steps, healed, _),) = incidents(cluster)
    assert recovery_steps == [*device.climbed, keeper.COOL_OFF, keeper.START_ANEW]
    assert not healed


def test_a_new_start_that_does_not_help_quarantines_the_device_until_a_person_releases_it(
    cluster, the, device
):
    record_device_state(
        cluster.engine,
        device.name,
        device.kind,
        device.pool,
        DeviceStatus.COOLING_OFF,
        owner_node=NODE,
        recovery_step=keeper.START_ANEW,
    )
    device.found = [Fault.OFFLINE]
    states = []
    pause = the._pause

    def look_then_pause(seconds: float, why: str) -> None:
        states.append(device_row(cluster.engine, device.name).state)
        if len(states) == 2:
            release_device(cluster.engine, device.name)
        pause(seconds, why)

    the._pause = look_then_pause
    with pytest.raises(StartAnewError, match="released"):
        the.keep(consuming(the))
    assert states == [DeviceStatus.QUARANTINED] * 2
    assert device.climbed == ["close"], (
        "no recovery_step is climbed twice, and a quarantined device is shut down"
    )


def test_a_quarantined_device_stays_so_when_its_worker_starts_again(cluster, the, device):
    record_device_state(
        cluster.engine, device.name, device.kind, device.pool, DeviceStatus.QUARANTINED, owner_node=None
    )
    looks = []
    pause = the._pause

    def look_then_pause(seconds: float, why: str) -> None:
        looks.append(why)
        if len(looks) == 3:
            the.stop.set()
        pause(seconds, why)

    the._pause = look_then_pause
    assert the.keep(lambda: pytest.fail("took work")) == 0
    assert device_row(cluster.engine, device.name).state is DeviceStatus.QUARANTINED


def test_a_phone_that_is_away_is_waited_for_and_not_climbed_for(cluster, the, device, row):
    device.in_run, device.away = Fault.DISCONNECTED, frozenset({Fault.DISCONNECTED})
    device.found = [None, Fault.DISCONNECTED, Fault.DISCONNECTED, None]
    the.keep(consuming(the, row))
    assert device.climbed == []
    assert incidents(cluster) == [("disconnected", [], True, row)]


def test_a_phone_rests_before_it_takes_more_work(cluster, the, device, row):
    states = []
    device.rests = ["battery at 45 degrees", "battery at 42 degrees", None]
    pause = the._pause

    def look_then_pause(seconds: float, why: str) -> None:
        states.append((device_row(cluster.engine, device.name).state, why))
        pause(seconds, why)

    the._pause = look_then_pause
    the.keep(consuming(the))
    assert states == [
        (DeviceStatus.WAITING, "battery at 45 degrees"),
        (DeviceStatus.WAITING, "battery at 42 degrees"),
    ]
    assert incidents(cluster) == []


def test_a_host_at_fault_ends_its_worker(cluster, the, device):
    device.kind = DeviceKind.HOST
    device.found = [Fault.WRONG_CANARY] * 4
    assert the.keep(consuming(the)) == EXIT_FAULT
    ((fault, _, healed, _),) = incidents(cluster)
    assert (fault, healed) == ("wrong_canary", False)


def test_a_stop_in_the_middle_of_a_climb_ends_it(cluster, the, device):
    device.found = [Fault.OFFLINE] * 9
    device.recovery_steps = lambda: (
        RecoveryStep(name="wait for ever", climb=the.stop.set),
        *ToyDevice.recovery_steps(device),
    )
    the.settings = the.settings.model_copy(update={"android": AndroidSettings(cool_off_s=600)})
    assert the.keep(consuming(the)) == 0
    assert device_row(cluster.engine, device.name).state is DeviceStatus.STOPPED


def test_what_postgres_misses_of_a_climb_is_written_when_it_is_back(cluster, the, device, row):
    there, away = the.engine, engine_for("postgresql://nobody@127.0.0.1:1/none", 1)

    def recovery_step(name: str, engine: Engine) -> RecoveryStep:
        def climb() -> None:
            device.climbed.append(name)
            the._journal.engine = engine

        return RecoveryStep(name=name, climb=climb)

    device.recovery_steps = lambda: (
        recovery_step("one", away),
        recovery_step("two", away),
        recovery_step("three", there),
    )
    device.found = [None, Fault.OFFLINE, Fault.BOOT_TIMEOUT]

    def consume() -> int:
        the._journal.engine = away
        return consuming_once()

    consuming_once = consuming(the, row)
    the.keep(consume)
    the._journal.engine = there
    assert the._journal.flush()
    ((fault, recovery_steps, healed, benchmark),) = incidents(cluster)
    assert (fault, recovery_steps, healed, benchmark) == ("app_hung", ["one", "two", "three"], True, row)
    (written,) = cluster.rows("SELECT reason, duration_ns FROM incident")
    assert "boot_timeout: toy: boot_timeout" in written["reason"]
    assert written["duration_ns"] > 0
    away.dispose()


def test_a_worker_whose_postgres_is_away_does_not_pass_over_a_quarantine(cluster, the, device):
    record_device_state(
        cluster.engine, device.name, device.kind, device.pool, DeviceStatus.QUARANTINED, owner_node=None
    )
    there, away = the.engine, engine_for("postgresql://nobody@127.0.0.1:1/none", 1)
    the._journal.engine = away
    looks = []
    pause = the._pause

    def look_then_pause(seconds: float, why: str) -> None:
        looks.append(why)
        the._journal.engine = there
        if why == "quarantined":
            the.stop.set()
        pause(seconds, why)

    the._pause = look_then_pause
    assert the.keep(lambda: pytest.fail("took work")) == 0
    assert looks == ["for Postgres", "quarantined"]
    away.dispose()
