"""Keeps one device at work: makes it ready, lets it take work, heals it, gives up on it in the end.

The recovery ladder runs here, in the main thread and outside every task. What
is done is written in the journal as it is done; a Postgres that is away delays no climb.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import Engine

from nnlite.errors import NnliteError, Stopped
from nnlite.settings import Settings
from nnlite.vocabulary import DeviceKind, DeviceStatus, Fault
from nnlite.worker.celery_worker import EXIT_FAULT
from nnlite_benchmark.benchmarker import Benchmarker, Faulted
from nnlite_benchmark.device import Device, DeviceFailure, RecoveryStep
from nnlite_benchmark.device_log import DeviceEventLog

log = structlog.get_logger()

#: The last recovery step; it stands in the device's row while the worker starts anew.
START_ANEW: Final = "start the worker anew"
COOL_OFF: Final = "cool off"
#: Between two looks at a quarantined device's row, or for a Postgres that is away, seconds.
_RELEASE_POLL_S: Final = 5.0


#: Faults of a run that the artifact may have caused: they do not speak against the device twice.
_OF_THE_RUN: Final = frozenset({Fault.APP_CRASHED, Fault.APP_HUNG, Fault.BAD_REPORT, Fault.PROCESS_DIED})


class StartAnewError(NnliteError):
    """The worker process must be replaced by a new one with the same arguments."""


class GivenUpError(NnliteError):
    """The host itself is at fault: the process ends, and its supervisor starts it again."""


@dataclass(kw_only=True)
class DeviceManager:
    """Has one device, and the worker that takes work for it."""

    engine: Engine
    device: Device
    benchmarker: Benchmarker
    settings: Settings
    node: str
    stop: threading.Event
    #: A start after the last recovery step: what does not heal now is quarantined.
    _last_try: bool = field(default=False, init=False)
    #: Rungs that are left out: they healed a fault that came back before a benchmark was finished.
    _steps_tried: int = field(default=0, init=False)
    _journal: DeviceEventLog = field(init=False)

    def __post_init__(self) -> None:
        self._journal = DeviceEventLog(engine=self.engine, device=self.device, node=self.node)

    def keep(self, consume: Callable[[], int]) -> int:
        """Work until told to stop and return the exit code of the process.

        Args:
            consume: takes work until the worker is told to stop or the device is at fault or rests.

        Raises:
            StartAnewError: a new process must go on.
        """
        try:
            self._begin()
            self._make_ready()
            while True:
                self._last_try = False
                self._journal.ready()
                code = consume()
                if self.stop.is_set() or not self._interrupted():
                    break
                self._recover()
        except Stopped:
            code = 0
        except GivenUpError as error:
            log.error(str(error))
            return EXIT_FAULT
        self._journal.state(DeviceStatus.STOPPED, owned=False)
        return code

    def _begin(self) -> None:
        """Write that the worker is there, and wait until the device is in no quarantine."""
        self._journal.state(DeviceStatus.STARTING)
        self._wait_written()
        row = self._journal.row()
        self._last_try = row is not None and row.recovery_step == START_ANEW
        if row is not None and row.state is DeviceStatus.QUARANTINED:
            self._wait_for_release(row.reason or "")

    def _make_ready(self) -> None:
        if (failure := self._failure_of(self.device.prepare)) is not None:
            self._heal(Faulted(failure=failure, benchmark=None))
        self._wait_rested(self._rest_reason())

    def _interrupted(self) -> bool:
        return self.benchmarker.fault is not None or self.benchmarker.rest is not None

    def _recover(self) -> None:
        fault, rest = self.benchmarker.fault, self.benchmarker.rest
        self.benchmarker.fault = self.benchmarker.rest = None
        if fault is not None:
            self._heal(fault)
            rest = self._rest_reason()
        self._wait_rested(rest)

    def _rest_reason(self) -> str | None:
        try:
            return self.device.rest_reason()
        except DeviceFailure as failure:
            self._heal(Faulted(failure=failure, benchmark=None))
            return None

    def _wait_rested(self, reason: str | None) -> None:
        """Wait while the device should rest; a phone that is unplugged meanwhile is healed first."""
        while reason is not None:
            log.info("the device rests", device=self.device.name, reason=reason)
            self._journal.state(DeviceStatus.WAITING, reason=reason)
            self._pause(self.settings.phone.gate_poll_s, reason)
            reason = self._rest_reason()

    def _heal(self, fault: Faulted) -> None:
        """Climb until the device is ready; every climb is an incident."""
        failure = fault.failure
        log.error(
            "the device is at fault", device=self.device.name, fault=failure.fault, reason=failure.reason
        )
        self._journal.state(DeviceStatus.FAULTY, reason=failure.reason)
        self._journal.incident(fault)
        if self.benchmarker.take_finished() or failure.fault in _OF_THE_RUN:
            self._steps_tried = 0
        climbed = self._wait_while_away(failure)
        if climbed is not None and not self._last_try:
            climbed = self._climb(climbed)
        if climbed is None:
            log.info("the device is ready again", device=self.device.name)
            return
        self._give_up(climbed)

    def _climb(self, failure: DeviceFailure) -> DeviceFailure | None:
        """Climb step by step; return None when the device is ready, else the last failure.

        A fault that came back at once is not healed by the recovery_step that seemed to heal it.
        """
        for recovery_step in self.device.recovery_steps()[self._steps_tried :]:
            self._steps_tried += 1
            log.warning("climbing", device=self.device.name, recovery_step=recovery_step.name)
            self._journal.state(DeviceStatus.RECOVERING, reason=failure.reason)
            self._journal.recovery_step(recovery_step.name)
            next_failure = self._try(recovery_step)
            if next_failure is not None:
                next_failure = self._wait_while_away(next_failure)
            if next_failure is None:
                return None
            log.warning(
                "not ready",
                device=self.device.name,
                recovery_step=recovery_step.name,
                reason=next_failure.reason,
            )
            if next_failure.fault is not failure.fault:
                self._journal.incident(Faulted(failure=next_failure, benchmark=None))
            failure = next_failure
        return failure

    def _try(self, recovery_step: RecoveryStep) -> DeviceFailure | None:
        return self._failure_of(recovery_step.climb) or self._failure_of(self.device.check)

    def _wait_while_away(self, failure: DeviceFailure) -> DeviceFailure | None:
        """Wait for a device that people took away; return None when it is ready, else what is wrong now."""
        seen: DeviceFailure | None = failure
        while seen is not None and self.device.is_away(seen.fault):
            log.warning("waiting for the device", device=self.device.name, reason=seen.reason)
            self._journal.state(DeviceStatus.WAITING, reason=seen.reason)
            self._pause(self.settings.phone.gate_poll_s, seen.reason)
            seen = self._failure_of(self.device.prepare)
        return seen

    def _give_up(self, failure: DeviceFailure) -> None:
        """Rest and start anew; quarantine what that did not heal.

        Raises:
            GivenUpError: the device is the host.
            StartAnewError: a new process must go on.
        """
        if self.device.kind is DeviceKind.HOST:
            raise GivenUpError(f"{self.device.name}: {failure.reason}")
        if not self._last_try:
            cool_off_s = self.settings.android.cool_off_s
            self._journal.recovery_step(COOL_OFF)
            self._journal.state(DeviceStatus.COOLING_OFF, reason=failure.reason)
            log.error("cooling off", device=self.device.name, seconds=cool_off_s)
            self._pause(cool_off_s, failure.reason)
            self._journal.recovery_step(START_ANEW)
            # The new process reads there that it is the last try.
            self._wait_written()
            raise StartAnewError(f"{self.device.name}: {failure.reason}")
        self._journal.state(DeviceStatus.QUARANTINED, reason=failure.reason)
        self.device.close()
        self._wait_written()
        self._wait_for_release(failure.reason)
        raise StartAnewError(f"{self.device.name} was released")

    def _wait_for_release(self, reason: str) -> None:
        log.error(
            "the device is quarantined and takes no work",
            device=self.device.name,
            reason=reason,
            way_out=f"nnlite devices release {self.device.name}",
        )
        while True:
            self._pause(_RELEASE_POLL_S, "quarantined")
            row = self._journal.row()
            if row is not None and row.state is not DeviceStatus.QUARANTINED:
                self._last_try = False
                return

    def _wait_written(self) -> None:
        while not self._journal.flush():
            self._pause(_RELEASE_POLL_S, "for Postgres")

    def _pause(self, seconds: float, why: str) -> None:
        if self.stop.wait(seconds):
            raise Stopped(f"stopped while {self.device.name} waits: {why}")

    def _failure_of(self, call: Callable[[], None]) -> DeviceFailure | None:
        try:
            call()
        except DeviceFailure as failure:
            return failure
        return None
