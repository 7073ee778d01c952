"""Lifecycle of one device: prepare, serve the queue, recover after faults, quarantine when recovery fails.

Runs in the main thread, outside every task. All events are written to the device
event log as they happen; an unavailable Postgres delays no recovery.

How an adb error gets here: `android.adb.shell.Shell._device_failure` converts it to a
`DeviceFailure`, which ends the attempt; then `DeviceManager._escalate` runs the device's recovery
steps. `AndroidDevice.recovery_steps` and `DeviceTransport.recovery_steps` list them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Never

import structlog
from sqlalchemy import Engine

from nnlite.errors import NnliteError, Stopped
from nnlite.settings import Settings
from nnlite.vocabulary import DeviceKind, DeviceStatus, Fault
from nnlite.worker.celery_worker import EXIT_FAULT
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.device import Device, DeviceFailure, FaultOccurrence
from nnlite_benchmark.device_log import DeviceEventLog

log = structlog.get_logger()

#: The last recovery step; stays in the device's row while the worker process is replaced.
RESTART_WORKER: Final = "restart the worker"
COOL_OFF: Final = "cool off"
#: Poll interval of a quarantined device's row, and retry interval of an unavailable Postgres, seconds.
_RELEASE_POLL_S: Final = 5.0
#: Faults of a run that the artifact may have caused: recovery starts with the first step again.
_RUN_FAULTS: Final = frozenset({Fault.APP_CRASHED, Fault.APP_HUNG, Fault.BAD_REPORT, Fault.PROCESS_DIED})


class RestartWorkerError(NnliteError):
    """The worker process must be replaced by a new one with the same arguments."""


class HostFaultError(NnliteError):
    """The host itself is at fault: the process exits, and its supervisor restarts it."""


@dataclass(kw_only=True)
class DeviceManager:
    """Owns one device and the worker that takes work for it."""

    engine: Engine
    device: Device
    benchmarker: Benchmarker
    settings: Settings
    node: str
    stop: threading.Event
    #: Set after the last recovery step: a failure now leads to quarantine.
    _last_try: bool = field(default=False, init=False)
    _events: DeviceEventLog = field(init=False)
    #: Recovery steps that are skipped: they fixed a fault that came back before a benchmark was finished.
    _tried: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._events = DeviceEventLog(engine=self.engine, device=self.device, node=self.node)

    def run(self, consume: Callable[[], int]) -> int:
        """Serve the queue until stopped and return the exit code of the process.

        Args:
            consume: takes work until the worker is stopped, or the device is at fault or must pause.

        Raises:
            RestartWorkerError: the process must be replaced.
        """
        try:
            self._register_start()
            self._prepare()
            while True:
                self._last_try = False
                self._events.ready()
                code = consume()
                interrupted = self.benchmarker.fault is not None or self.benchmarker.pause_reason is not None
                if self.stop.is_set() or not interrupted:
                    break
                self._handle_interruption()
        except Stopped:
            code = 0
        except HostFaultError as error:
            log.error(str(error))
            return EXIT_FAULT
        self._events.state(DeviceStatus.STOPPED, owned=False)
        return code

    def _register_start(self) -> None:
        """Record that the worker runs, and wait until the device is not quarantined."""
        self._events.state(DeviceStatus.STARTING)
        self._wait_until_events_are_stored()
        row = self._events.row()
        self._last_try = row is not None and row.recovery_step == RESTART_WORKER
        if row is not None:
            self.device.speeds.load(row.fast_speeds)
        if row is not None and row.state is DeviceStatus.QUARANTINED:
            self._wait_for_release(row.reason or "")

    def _prepare(self) -> None:
        if (failure := failure_of(self.device.prepare)) is not None:
            self._recover(FaultOccurrence(failure=failure, benchmark_id=None))
        self._wait_while_paused(self._pause_reason())

    def _handle_interruption(self) -> None:
        fault, reason = self.benchmarker.fault, self.benchmarker.pause_reason
        self.benchmarker.fault = self.benchmarker.pause_reason = None
        if fault is not None:
            self._recover(fault)
            reason = self._pause_reason()
        self._wait_while_paused(reason)

    def _pause_reason(self) -> str | None:
        try:
            return self.device.pause_reason()
        except DeviceFailure as failure:
            self._recover(FaultOccurrence(failure=failure, benchmark_id=None))
            return None

    def _wait_while_paused(self, reason: str | None) -> None:
        """Wait while the device must pause (low battery, too warm); recover it if it fails."""
        while reason is not None:
            log.info("the device pauses", device=self.device.name, reason=reason)
            self._events.state(DeviceStatus.WAITING, reason=reason)
            self._sleep(self.settings.phone.gate_poll_s, reason)
            reason = self._pause_reason()

    def _recover(self, fault: FaultOccurrence) -> None:
        """Record an incident and recover the device: wait for its user, escalate, cool off, quarantine."""
        failure = fault.failure
        # A device that waits for its owner is not at fault.
        is_incident = failure.fault is not Fault.OWNER_NEEDED
        if is_incident:
            self._record(fault)
        if self.benchmarker.take_finished() or failure.fault in _RUN_FAULTS:
            self._tried = 0  # the device has worked, or the artifact may be the cause
        remaining = self._wait_for_user(failure)
        if remaining is not None and not is_incident:
            self._record(FaultOccurrence(failure=remaining, benchmark_id=None))
        if remaining is not None and not self._last_try:
            remaining = self._escalate(remaining)
        if remaining is None:
            log.info("the device is ready again", device=self.device.name)
            return
        self._cool_off_or_quarantine(remaining)

    def _escalate(self, failure: DeviceFailure) -> DeviceFailure | None:
        """Run the remaining recovery steps, least disruptive first, until one helps.

        Each step is followed by a full readiness check. A fault that comes back at once continues with the
        step after the one that seemed to help.

        Returns:
            None once the device is ready, else the last failure.
        """
        for step in self.device.recovery_steps()[self._tried :]:
            self._tried += 1
            log.warning("recovering", device=self.device.name, recovery_step=step.name)
            self._events.state(DeviceStatus.RECOVERING, reason=failure.reason)
            self._events.recovery_step(step.name)
            remaining = failure_of(step.run) or failure_of(self.device.check)
            if remaining is not None:
                remaining = self._wait_for_user(remaining)
            if remaining is None:
                return None
            log.warning(
                "not ready", device=self.device.name, recovery_step=step.name, reason=remaining.reason
            )
            if remaining.fault is not failure.fault:
                self._events.incident(FaultOccurrence(failure=remaining, benchmark_id=None))
            failure = remaining
        return failure

    def _record(self, fault: FaultOccurrence) -> None:
        failure = fault.failure
        log.error(
            "the device is at fault", device=self.device.name, fault=failure.fault, reason=failure.reason
        )
        self._events.state(DeviceStatus.FAULTY, reason=failure.reason)
        self._events.incident(fault)

    def _wait_for_user(self, failure: DeviceFailure) -> DeviceFailure | None:
        """Wait while only a person can go on: for an unplugged phone, or a switch on it.

        Returns the remaining failure, or None once the device is ready.
        """
        remaining: DeviceFailure | None = failure
        while remaining is not None and self.device.needs_user(remaining.fault):
            log.warning("waiting for the device", device=self.device.name, reason=remaining.reason)
            self._events.state(DeviceStatus.WAITING, reason=remaining.reason)
            self._sleep(self.settings.phone.gate_poll_s, remaining.reason)
            remaining = failure_of(self.device.prepare)
        return remaining

    def _cool_off_or_quarantine(self, failure: DeviceFailure) -> Never:
        """Cool off and restart the worker process; quarantine the device if that was done already.

        Raises:
            HostFaultError: the device is the host.
            RestartWorkerError: the process must be replaced.
        """
        if self.device.kind is DeviceKind.HOST:
            raise HostFaultError(f"{self.device.name}: {failure.reason}")
        if self._last_try:
            self._quarantine(failure)
        self._restart_after_cool_off(failure)

    def _restart_after_cool_off(self, failure: DeviceFailure) -> Never:
        cool_off_s = self.settings.android.cool_off_s
        self._events.recovery_step(COOL_OFF)
        self._events.state(DeviceStatus.COOLING_OFF, reason=failure.reason)
        log.error("cooling off", device=self.device.name, seconds=cool_off_s)
        self._sleep(cool_off_s, failure.reason)
        self._events.recovery_step(RESTART_WORKER)
        # The new process reads this row to know that it is the last try.
        self._wait_until_events_are_stored()
        raise RestartWorkerError(f"{self.device.name}: {failure.reason}")

    def _quarantine(self, failure: DeviceFailure) -> Never:
        """Quarantine the device, and restart the worker process once it is released."""
        self._events.state(DeviceStatus.QUARANTINED, reason=failure.reason)
        self.device.close()
        self._wait_until_events_are_stored()
        self._wait_for_release(failure.reason)
        raise RestartWorkerError(f"{self.device.name} was released")

    def _wait_for_release(self, reason: str) -> None:
        log.error(
            "the device is quarantined and takes no work",
            device=self.device.name,
            reason=reason,
            hint=f"nnlite devices release {self.device.name}",
        )
        while True:
            self._sleep(_RELEASE_POLL_S, "quarantined")
            row = self._events.row()
            if row is not None and row.state is not DeviceStatus.QUARANTINED:
                self._last_try = False
                return

    def _wait_until_events_are_stored(self) -> None:
        while not self._events.flush():
            self._sleep(_RELEASE_POLL_S, "for Postgres")

    def _sleep(self, seconds: float, why: str) -> None:
        if self.stop.wait(seconds):
            raise Stopped(f"stopped while {self.device.name} waits: {why}")


def failure_of(call: Callable[[], None]) -> DeviceFailure | None:
    """Call `call` and return its DeviceFailure, if any."""
    try:
        call()
    except DeviceFailure as failure:
        return failure
    return None
