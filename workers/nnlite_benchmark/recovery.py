"""Recovery escalation: runs a device's recovery steps, least disruptive first, until the device is ready.

How an adb error gets here: `android.adb.shell.Shell._device_failure` converts it to a
`DeviceFailure`, which ends the attempt; the `DeviceManager` then calls `RecoveryEscalation.run`.
The steps themselves are listed by `AndroidDevice.recovery_steps` and `DeviceTransport.recovery_steps`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from nnlite.vocabulary import DeviceStatus
from nnlite_benchmark.device import Device, DeviceFailure, FaultOccurrence
from nnlite_benchmark.device_log import DeviceEventLog

log = structlog.get_logger()


@dataclass(kw_only=True)
class RecoveryEscalation:
    """The recovery steps of one device, and how many of them were tried."""

    device: Device
    events: DeviceEventLog
    #: Waits while only the user can end the failure; returns the remaining failure, or None if ready.
    wait_for_user: Callable[[DeviceFailure], DeviceFailure | None]
    #: Steps that are skipped: they fixed a fault that came back before a benchmark was finished.
    _tried: int = field(default=0, init=False)

    def reset(self) -> None:
        """Start with the first step again: the device has worked, or the artifact may be the cause."""
        self._tried = 0

    def run(self, failure: DeviceFailure) -> DeviceFailure | None:
        """Run the remaining recovery steps until one helps.

        Each step is followed by a full readiness check. A fault that comes back at once continues with the
        step after the one that seemed to help.

        Returns:
            None once the device is ready, else the last failure.
        """
        for step in self.device.recovery_steps()[self._tried :]:
            self._tried += 1
            log.warning("recovering", device=self.device.name, recovery_step=step.name)
            self.events.state(DeviceStatus.RECOVERING, reason=failure.reason)
            self.events.recovery_step(step.name)
            remaining = failure_of(step.run) or failure_of(self.device.check)
            if remaining is not None:
                remaining = self.wait_for_user(remaining)
            if remaining is None:
                return None
            log.warning(
                "not ready", device=self.device.name, recovery_step=step.name, reason=remaining.reason
            )
            if remaining.fault is not failure.fault:
                self.events.incident(FaultOccurrence(failure=remaining, benchmark_id=None))
            failure = remaining
        return failure


def failure_of(call: Callable[[], None]) -> DeviceFailure | None:
    """Call `call` and return its DeviceFailure, if any."""
    try:
        call()
    except DeviceFailure as failure:
        return failure
    return None
