"""Lifecycle of a device: recovery steps, pauses, quarantine, and events while Postgres is unavailable.

More than 300 lines: all tests script the same toy device.
"""

import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Engine

from integration.canned import CONTEXT, finish_conversion, record_lab_phone, stored_canary
from integration.conftest import Cluster, living_owner
from nnlite.artifacts.store import ArtifactStore
from nnlite.db.engine import engine_for
from nnlite.results.devices import (
    device_row,
    record_device_state,
    record_fast_speeds,
    release_device,
)
from nnlite.settings import Settings
from nnlite.settings.groups import AndroidSettings, PhoneSettings
from nnlite.vocabulary import DeviceKind, DeviceStatus, Fault, Stage, WorkKind
from nnlite.worker.attempt import Outcome, WorkerContext, run_attempt
from nnlite.worker.celery_worker import EXIT_FAULT
from nnlite_benchmark import device_manager
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.device import DeviceFailure, RecoveryStep
from nnlite_benchmark.device_manager import DeviceManager, RestartWorkerError
from nnlite_benchmark.protocol import canary
from nnlite_benchmark.protocol.fast_speed import FastSpeeds

NODE = "benchmark@here"


class ToyDevice:
    """An in-memory device with the faults that a test sets."""

    name = CONTEXT.name
    pool = "host"
    canary_ns = 12_000_000

    def __init__(self, kind: DeviceKind = DeviceKind.EMULATOR) -> None:
        self.kind = kind
        #: Results of the next calls of `prepare` and `check`; then the device is ready.
        self.failures: list[Fault | None] = []
        #: The fault of `run`.
        self.in_run: Fault | None = Fault.APP_HUNG
        self.pause_reasons: list[str | None] = []
        self.user_faults: frozenset[Fault] = frozenset()
        self.calls: list[str] = []
        self.speeds = FastSpeeds()

    def prepare(self) -> None:
        self.check()

    def check(self) -> None:
        if fault := self.failures.pop(0) if self.failures else None:
            raise DeviceFailure(fault, Stage.PREPARE, f"toy: {fault}")

    def recovery_steps(self) -> tuple[RecoveryStep, ...]:
        def recovery_step(name: str) -> RecoveryStep:
            return RecoveryStep(name=name, run=lambda: self.calls.append(name))

        return tuple(map(recovery_step, ("reconnect", "restart the emulator", "wipe its data")))

    def pause_reason(self) -> str | None:
        return self.pause_reasons.pop(0) if self.pause_reasons else None

    def needs_user(self, fault: Fault) -> bool:
        return fault in self.user_faults

    def context(self) -> object:
        return CONTEXT

    def loaded(self, *_: object) -> object:
        return nullcontext()

    def run(self, *_: object, **__: object) -> object:
        assert self.in_run is not None
        raise DeviceFailure(self.in_run, Stage.RUN, f"toy: {self.in_run}")

    def close(self) -> None:
        self.calls.append("close")


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
    """The manager of the device."""
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
    monkeypatch.setattr(device_manager, "_RELEASE_POLL_S", 0.01)


def consuming(the: DeviceManager, *rows: uuid.UUID) -> Callable[[], int]:
    """Return a `consume` that takes one row per call, like the Celery worker, and then stops."""
    left = list(rows)

    def consume() -> int:
        if not left:
            the.stop.set()
            return 0
        benchmarker = the.benchmarker
        outcome = run_attempt(benchmarker.context, WorkKind.BENCHMARK, left[0], benchmarker.run, 120)
        assert outcome is Outcome.FAILED
        benchmarker.after(left.pop(0))
        return 0

    return consume


def incidents(cluster: Cluster) -> list[tuple[object, ...]]:
    rows = cluster.rows("SELECT fault, recovery_steps, healed, benchmark_id FROM incident ORDER BY id")
    return [tuple(row.values()) for row in rows]


def test_a_fault_requeues_the_benchmark_and_recovery_ends_with_the_first_step_that_helps(
    cluster, the, device, row
):
    device.failures = [None, Fault.OFFLINE, None]
    assert the.run(consuming(the, row)) == 0
    assert cluster.rows("SELECT state, failure_class, strikes FROM benchmark") == [
        {"state": "queued", "failure_class": "device", "strikes": 0}
    ]
    assert device.calls == ["reconnect", "restart the emulator"]
    assert incidents(cluster) == [("app_hung", device.calls, True, row)]
    found = device_row(cluster.engine, device.name)
    assert (found.state, found.recovery_step, found.owner_node) == (DeviceStatus.STOPPED, None, None)
    (written,) = cluster.rows("SELECT canary_ns FROM device")
    assert written["canary_ns"] == device.canary_ns


def test_a_worker_knows_the_fast_speeds_that_earlier_ones_learned(cluster, the, device, row):
    speeds = {"LiteRT 2.3.0, threads 1, cores 0": [200_000, 201_000]}
    record_lab_phone(cluster, DeviceStatus.STOPPED, NODE)
    with cluster.engine.begin() as connection:
        record_fast_speeds(connection, device.name, speeds)
    the.run(consuming(the, row))
    assert device.speeds.to_json() == speeds


def test_a_fault_that_comes_back_at_once_continues_with_the_next_step(cluster, the, device, row):
    device.in_run = Fault.OFFLINE
    the.run(consuming(the, row, row))
    assert device.calls == ["reconnect", "restart the emulator"]
    assert [recovery_steps for _, recovery_steps, _, _ in incidents(cluster)] == [
        ["reconnect"],
        ["restart the emulator"],
    ]


def test_repeated_app_crashes_do_not_escalate(cluster, the, device, row):
    device.in_run = Fault.APP_CRASHED
    the.run(consuming(the, row, row))
    assert device.calls == ["reconnect", "reconnect"]


def test_a_device_that_is_not_ready_at_start_recovers_before_it_takes_work(cluster, the, device, row):
    device.failures = [Fault.BOOT_TIMEOUT, Fault.BOOT_TIMEOUT, None]
    taken = []

    def consume() -> int:
        taken.append(device_row(cluster.engine, device.name).state)
        the.stop.set()
        return 0

    the.run(consume)
    assert taken == [DeviceStatus.READY]
    assert incidents(cluster) == [("boot_timeout", ["reconnect", "restart the emulator"], True, None)]


def test_when_no_step_helps_the_worker_cools_off_and_is_restarted(cluster, the, device):
    device.failures = [Fault.OFFLINE] * 4
    with pytest.raises(RestartWorkerError):
        the.run(consuming(the))
    found = device_row(cluster.engine, device.name)
    assert (found.state, found.recovery_step) == (DeviceStatus.COOLING_OFF, device_manager.RESTART_WORKER)
    ((_, recovery_steps, healed, _),) = incidents(cluster)
    assert recovery_steps == [*device.calls, device_manager.COOL_OFF, device_manager.RESTART_WORKER]
    assert not healed


def test_a_restart_that_does_not_help_quarantines_the_device_until_it_is_released(cluster, the, device):
    record_device_state(
        cluster.engine,
        device.name,
        device.kind,
        device.pool,
        DeviceStatus.COOLING_OFF,
        owner_node=NODE,
        recovery_step=device_manager.RESTART_WORKER,
    )
    device.failures = [Fault.OFFLINE]
    states = []
    sleep = the._sleep

    def record_and_sleep(seconds: float, why: str) -> None:
        states.append(device_row(cluster.engine, device.name).state)
        if len(states) == 2:
            release_device(cluster.engine, device.name)
        sleep(seconds, why)

    the._sleep = record_and_sleep
    with pytest.raises(RestartWorkerError, match="released"):
        the.run(consuming(the))
    assert states == [DeviceStatus.QUARANTINED] * 2
    assert device.calls == ["close"], "no step is run twice, and a quarantined device is closed"


def test_a_quarantine_outlasts_a_restart_of_the_worker(cluster, the, device):
    record_device_state(
        cluster.engine, device.name, device.kind, device.pool, DeviceStatus.QUARANTINED, owner_node=None
    )
    reasons = []
    sleep = the._sleep

    def record_and_sleep(seconds: float, why: str) -> None:
        reasons.append(why)
        if len(reasons) == 3:
            the.stop.set()
        sleep(seconds, why)

    the._sleep = record_and_sleep
    assert the.run(lambda: pytest.fail("took work")) == 0
    assert device_row(cluster.engine, device.name).state is DeviceStatus.QUARANTINED


def test_an_unplugged_phone_is_waited_for_without_recovery_steps(cluster, the, device, row):
    device.in_run, device.user_faults = Fault.DISCONNECTED, frozenset({Fault.DISCONNECTED})
    device.failures = [None, Fault.DISCONNECTED, Fault.DISCONNECTED, None]
    the.run(consuming(the, row))
    assert device.calls == []
    assert incidents(cluster) == [("disconnected", [], True, row)]


def test_a_warm_phone_pauses_before_it_takes_more_work(cluster, the, device, row):
    states = []
    device.pause_reasons = ["battery at 45 degrees", "battery at 42 degrees", None]
    sleep = the._sleep

    def record_and_sleep(seconds: float, why: str) -> None:
        states.append((device_row(cluster.engine, device.name).state, why))
        sleep(seconds, why)

    the._sleep = record_and_sleep
    the.run(consuming(the))
    assert states == [
        (DeviceStatus.WAITING, "battery at 45 degrees"),
        (DeviceStatus.WAITING, "battery at 42 degrees"),
    ]
    assert incidents(cluster) == []


def test_a_fault_of_the_host_ends_its_worker(cluster, the, device):
    device.kind = DeviceKind.HOST
    device.failures = [Fault.WRONG_CANARY] * 4
    assert the.run(consuming(the)) == EXIT_FAULT
    ((fault, _, healed, _),) = incidents(cluster)
    assert (fault, healed) == ("wrong_canary", False)


def test_a_stop_cancels_the_recovery(cluster, the, device):
    device.failures = [Fault.OFFLINE] * 9
    device.recovery_steps = lambda: (
        RecoveryStep(name="wait without end", run=the.stop.set),
        *ToyDevice.recovery_steps(device),
    )
    the.settings = the.settings.model_copy(update={"android": AndroidSettings(cool_off_s=600)})
    assert the.run(consuming(the)) == 0
    assert device_row(cluster.engine, device.name).state is DeviceStatus.STOPPED


def test_events_during_an_outage_of_postgres_are_written_afterwards(cluster, the, device, row):
    available, unavailable = the.engine, engine_for("postgresql://nobody@127.0.0.1:1/none", 1)

    def recovery_step(name: str, engine: Engine) -> RecoveryStep:
        def run() -> None:
            device.calls.append(name)
            the._events.engine = engine

        return RecoveryStep(name=name, run=run)

    device.recovery_steps = lambda: (
        recovery_step("one", unavailable),
        recovery_step("two", unavailable),
        recovery_step("three", available),
    )
    device.failures = [None, Fault.OFFLINE, Fault.BOOT_TIMEOUT]

    def consume() -> int:
        the._events.engine = unavailable
        return consuming_once()

    consuming_once = consuming(the, row)
    the.run(consume)
    the._events.engine = available
    assert the._events.flush()
    ((fault, recovery_steps, healed, benchmark),) = incidents(cluster)
    assert (fault, recovery_steps, healed, benchmark) == ("app_hung", ["one", "two", "three"], True, row)
    (written,) = cluster.rows("SELECT reason, duration_ns FROM incident")
    assert "boot_timeout: toy: boot_timeout" in written["reason"]
    assert written["duration_ns"] > 0
    unavailable.dispose()


def test_an_event_that_postgres_rejects_does_not_hold_up_the_next(cluster, the):
    def write(_age_s: float) -> None:
        cluster.change("SELECT 'x'::int")

    the._events._add(write)
    assert the._events.flush()


def test_an_outage_of_postgres_at_start_does_not_skip_a_quarantine(cluster, the, device):
    record_device_state(
        cluster.engine, device.name, device.kind, device.pool, DeviceStatus.QUARANTINED, owner_node=None
    )
    available, unavailable = the.engine, engine_for("postgresql://nobody@127.0.0.1:1/none", 1)
    the._events.engine = unavailable
    reasons = []
    sleep = the._sleep

    def record_and_sleep(seconds: float, why: str) -> None:
        reasons.append(why)
        the._events.engine = available
        if why == "quarantined":
            the.stop.set()
        sleep(seconds, why)

    the._sleep = record_and_sleep
    assert the.run(lambda: pytest.fail("took work")) == 0
    assert reasons == ["for Postgres", "quarantined"]
    unavailable.dispose()
