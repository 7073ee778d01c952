"""Write-behind log of a device's events: states, recovery steps, incidents.

An unavailable Postgres blocks nothing: events are buffered and written in order
with the next event that can be written.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from nnlite.db.engine import first_line, is_outage
from nnlite.results import devices
from nnlite.results.devices import DeviceRow
from nnlite.vocabulary import DeviceStatus
from nnlite_benchmark.device import Device, FaultOccurrence

log = structlog.get_logger()

#: Size of the buffer; a complete recovery escalation has about twenty events.
_MAX_BUFFERED: Final = 1000


#: Writes one event; takes its age in seconds.
_Write = Callable[[float], object]


@dataclass(kw_only=True)
class DeviceEventLog:
    """Buffered writes to the rows of one device."""

    engine: Engine
    device: Device
    #: The worker that owns the device.
    node: str
    #: With the time of each event.
    _unwritten: deque[tuple[float, _Write]] = field(
        default_factory=lambda: deque(maxlen=_MAX_BUFFERED), init=False
    )

    def row(self) -> DeviceRow | None:
        """Return the device's row; None: no row yet, or Postgres is unavailable."""
        try:
            return devices.device_row(self.engine, self.device.name)
        except DBAPIError as error:
            _warn(error)
            return None

    def state(self, status: DeviceStatus, *, reason: str | None = None, owned: bool = True) -> None:
        """Write the device's state."""
        device = self.device
        self._add(
            lambda _age_s: devices.record_device_state(
                self.engine,
                device.name,
                device.kind,
                device.pool,
                status,
                owner_node=self.node if owned else None,
                reason=reason,
            )
        )

    def ready(self) -> None:
        """Write that the device is ready, with its properties, and close its incident."""
        context, canary_ns = self.device.context(), self.device.canary_ns
        self._add(lambda _age_s: devices.record_ready(self.engine, context, self.node, canary_ns))

    def incident(self, fault: FaultOccurrence) -> None:
        """Open an incident, or add to the open one."""

        def write(age_s: float) -> None:
            if (row := devices.device_row(self.engine, self.device.name)) is not None:
                failure = fault.failure
                devices.open_incident(
                    self.engine, row.id, failure.fault, failure.reason, fault.benchmark_id, age_s=age_s
                )

        self._add(write)

    def recovery_step(self, name: str) -> None:
        """Write that a recovery step is run."""

        def write(_age_s: float) -> None:
            if (row := devices.device_row(self.engine, self.device.name)) is not None:
                devices.add_recovery_step(self.engine, row.id, name)

        self._add(write)

    def flush(self) -> bool:
        """Write the buffered events; returns whether all are written."""
        while self._unwritten:
            at_s, write = self._unwritten[0]
            try:
                write(time.monotonic() - at_s)
            except DBAPIError as error:
                if is_outage(error):
                    _warn(error)
                    return False
                log.error("Postgres rejects an event of the device; it is dropped", error=first_line(error))
            self._unwritten.popleft()
        return True

    def _add(self, write: _Write) -> None:
        self._unwritten.append((time.monotonic(), write))
        self.flush()


def _warn(error: DBAPIError) -> None:
    log.warning("Postgres is unavailable; the event is written later", error=str(error.orig).strip())
