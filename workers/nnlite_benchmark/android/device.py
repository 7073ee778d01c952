"""An emulator or a phone as a device: attached, made ready, measured on, healed.

Holds the parts together: the transport, the worker's own adb server, the
shell, the app. One process, one device; a lock keeps a second worker off.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import structlog

from nnlite.errors import Stopped
from nnlite.host.cores import Cores, cores_of
from nnlite.host.quiet import MeasurementLock, QuietResult
from nnlite.reports.schema import DeviceContext, MeasurementReport
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, DeviceKind, Fault, QuietMode, Stage
from nnlite_benchmark.android.adb.client import ADB_ERRORS, Wire
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.server import AdbServer
from nnlite_benchmark.android.adb.shell import Shell
from nnlite_benchmark.android.adb.transport import DeviceTransport
from nnlite_benchmark.android.app.app import App, find_apk
from nnlite_benchmark.android.app.run import AppRuns
from nnlite_benchmark.android.app.run_monitor import OnStage
from nnlite_benchmark.android.properties.analytics import android_context, android_state
from nnlite_benchmark.android.readiness import Readiness
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure, RecoveryStep
from nnlite_benchmark.protocol.measuring import canary_ns, measure, nothing_to_quiet

log = structlog.get_logger()

#: Faults of a phone that people cause and end: it is waited for.
_AWAY: Final = frozenset({Fault.DISCONNECTED, Fault.UNAUTHORIZED})


class AndroidDevice:
    """One emulator or phone; see the protocol `Device`."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        pool: str,
        transport: DeviceTransport,
        folder: Path,
        stop: threading.Event,
        on_stage: OnStage,
    ) -> None:
        """Put the parts together; nothing is started yet.

        Args:
            settings: everything.
            name: unique among all devices of an installation.
            pool: the set of interchangeable devices that it belongs to.
            transport: how it hangs on this host.
            folder: of this device below the home, for logs, notes and its adb server.
            stop: set when the worker is told to stop.
            on_stage: hears where a run is.

        Raises:
            SettingsError: the app or the adb program is not there.
        """
        self.name: Final = name
        self.pool: Final = pool
        self._settings = settings
        self._attachment = transport
        self._stop = stop
        self._on_stage = on_stage
        self._server = AdbServer(settings.android, settings.home, folder, usb_serial=transport.usb_serial)
        self._server.end_leftover()
        self._shell = Shell(self._server.wire, transport.serial, settings.android, stop)
        self._app = App(self._shell, find_apk(settings.android, settings.home), settings.android)
        self._files = DeviceFiles(self._shell)
        self._runs = AppRuns(self._shell, self._app, settings, on_stage)
        self._cores = cores_of(settings)
        self._measurer = _measurer(settings, self._cores) if transport.cores_matter else None
        self._canary_ns: int | None = None
        self._context: DeviceContext | None = None

    @property
    def kind(self) -> DeviceKind:
        """Emulator or phone."""
        return self._context.kind if self._context else self._attachment.kind

    @property
    def canary_ns(self) -> int | None:
        """What the canary took last; see `Device`."""
        return self._canary_ns

    def prepare(self) -> None:
        """Start adb server and emulator where they do not run, and wait until all is ready."""
        self._context = None
        if not self._server.alive:
            self._server.start(self._stop)
        self._start_attachment()
        self.check()

    def check(self) -> None:
        """Wait until the device is ready: booted, free, installed, the canary right."""
        self._shell.stage = Stage.PREPARE
        self._shell.serial = self._attachment.serial
        Readiness(
            self._shell,
            self._settings.android,
            announce=lambda: self._attachment.announce(self._wire()),
            absent=self._attachment.absent,
            look=self._look,
            stop=self._stop,
        ).wait()
        self._app.ensure_installed()
        self._canary_ns = canary_ns(self._runs, self._settings.measurement, device=self.name)
        self._shell.stage = Stage.PREPARE
        self._context = self._asked_context()

    def recovery_steps(self) -> Sequence[RecoveryStep]:
        """Reconnect; restart the adb server; what the transport brings; for a phone, reinstall."""
        reinstall = RecoveryStep(name="reinstall the app", climb=self._app.uninstall)
        return (
            RecoveryStep(name="reconnect", climb=self._reconnect),
            RecoveryStep(name="restart the adb server", climb=lambda: self._server.start(self._stop)),
            *self._attachment.restarts(self._shell, lambda: self._server.port, self._stop),
            *((reinstall,) if self._attachment.kind is DeviceKind.PHONE else ()),
        )

    def rest_reason(self) -> str | None:
        """Return why a phone should rest: its battery, or its heat."""
        if self._attachment.kind is not DeviceKind.PHONE:
            return None
        state, gates = android_state(self._shell.ask), self._settings.phone
        limit = self._settings.measurement.max_thermal_status
        if state.battery_percent is not None and state.battery_percent < gates.min_battery_percent:
            return f"battery at {state.battery_percent:g} %, below {gates.min_battery_percent:g} %"
        battery_c = state.temperatures_c.get("battery")
        if battery_c is not None and battery_c > gates.max_battery_c:
            return f"battery at {battery_c:g} degrees, above {gates.max_battery_c:g}"
        if state.thermal_status is not None and state.thermal_status > limit:
            return f"thermal status {state.thermal_status}, above {limit}"
        return None

    def is_away(self, fault: Fault) -> bool:
        """Whether a phone was unplugged or does not accept this host: people end that, not a ladder."""
        return self._attachment.kind is DeviceKind.PHONE and fault in _AWAY

    def context(self) -> DeviceContext:
        """Return what stays the same until it boots anew; asked when it became ready."""
        if self._context is None:
            self._context = self._asked_context()
        return self._context

    @contextmanager
    def loaded(self, job: BenchmarkJob, stop: threading.Event) -> Iterator[None]:
        """Bring the artifact to the device for all backends; remove it afterwards."""
        name = f"{job.artifact_sha256}.tflite"
        self._shell.stage = Stage.PUSH
        self._on_stage(Stage.PUSH)
        try:
            with self._shell.cancelled_by(stop), self._blaming_what_ended():
                self._files.put(job.artifact, name, job.artifact_sha256)
            yield
        finally:
            with self._shell.cancelled_by(stop):
                self._files.try_removing([self._files.path(name)])

    def run(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> MeasurementReport:
        """Measure `job` between two canaries; raises as `Device.run` says."""
        with self._shell.cancelled_by(stop), self._blaming_what_ended():
            self._on_stage(Stage.QUIET)
            report = measure(
                job,
                backend,
                self._runs,
                self._settings.measurement,
                device=self.name,
                quiet=self._quiet(stop),
            )
        if report.canary is not None:
            self._canary_ns = report.canary.after_p25_ns
        return report

    def close(self) -> None:
        """End emulator and adb server, and let go of the quiet locks; harmless when done already."""
        try:
            self._attachment.stop()
        finally:
            self._server.stop()
        if self._measurer is not None:
            self._measurer.close()
            self._measurer = None

    def _start_attachment(self) -> None:
        self._attachment.start(self._server.port, self._stop)
        self._shell.serial = self._attachment.serial

    def _look(self) -> None:
        """Raise if what was started has ended."""
        self._attachment.check()
        if not self._server.alive:
            raise DeviceFailure(
                Fault.ADB_SERVER_GONE, self._shell.stage, f"the worker's adb server of {self.name} has ended"
            )

    @contextmanager
    def _blaming_what_ended(self) -> Iterator[None]:
        """Raise what ended, emulator or adb server, in place of the failure that this looks like."""
        try:
            yield
        except DeviceFailure as failure:
            try:
                self._look()
            except DeviceFailure as cause:
                raise DeviceFailure(cause.fault, failure.stage, cause.reason, cause.details) from failure
            raise

    def _reconnect(self) -> None:
        wire = self._wire()
        try:
            wire.reconnect_offline()
            if ":" in self._shell.serial:
                wire.disconnect(self._shell.serial)
            self._attachment.announce(wire)
        except ADB_ERRORS as error:
            log.info("reconnecting failed", device=self.name, error=str(error))

    def _wire(self) -> Wire:
        """Return the adb server's client, whose waits a stop ends."""

        def look() -> None:
            if self._stop.is_set():
                raise Stopped(f"stopped while the adb server of {self.name} is asked")

        return self._server.wire.watched(look)

    def _asked_context(self) -> DeviceContext:
        cores = self._cores
        return android_context(
            self._shell.ask,
            name=self.name,
            kind=self._attachment.kind,
            pool=self.pool,
            quiet_mode=cores.mode if self._measurer else QuietMode.OWN_MACHINE,
            measuring_cores=cores.measuring if self._measurer else (),
        )

    def _quiet(self, stop: threading.Event) -> AbstractContextManager[QuietResult]:
        return self._measurer.measuring(stop) if self._measurer else nothing_to_quiet()


def _measurer(settings: Settings, cores: Cores) -> MeasurementLock:
    bounds = settings.measurement
    return MeasurementLock(
        settings.quiet, cores, timeout_s=bounds.quiet_timeout_s, batch_s=bounds.quiet_batch_s
    )
