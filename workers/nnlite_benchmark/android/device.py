"""An Android emulator or phone as a `Device`: connect, prepare, measure, recover.

Combines the transport, the worker's own adb server, the shell and the app. Each
worker process has one device; a file lock excludes a second worker.

More than 300 lines: it is one class, whose methods are those of `Device`.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from nnlite.backends import BACKENDS, CPU_BACKENDS
from nnlite.errors import Stopped
from nnlite.host.cores import cores_of
from nnlite.host.quiet import QuietResult, measurement_lock
from nnlite.reports.schema import DeviceContext, MeasurementReport, Profile, RunReport
from nnlite.results.devices import cpu_configuration
from nnlite.settings import Settings
from nnlite.vocabulary import (
    Backend,
    ClockPolicy,
    DeviceKind,
    Fault,
    QuietMode,
    Stage,
)
from nnlite_benchmark.android.adb.client import ADB_ERRORS, AdbClient
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.server import AdbServer
from nnlite_benchmark.android.adb.shell import CommandResult, Shell
from nnlite_benchmark.android.adb.transport import DeviceTransport
from nnlite_benchmark.android.app.app import App, find_apk
from nnlite_benchmark.android.app.run import AppRuns
from nnlite_benchmark.android.app.run_monitor import OnStage
from nnlite_benchmark.android.clocks import ClockControl, clocks_of
from nnlite_benchmark.android.conditions import conditions_of, reason_to_pause
from nnlite_benchmark.android.properties.analytics import android_context, android_state, highest_khz
from nnlite_benchmark.android.readiness import Readiness
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure, RecoveryStep
from nnlite_benchmark.protocol.fast_speed import FastSpeeds
from nnlite_benchmark.protocol.last_canary import LastCanary
from nnlite_benchmark.protocol.measuring import (
    always_quiet,
    canary_ns,
    classified,
    measure,
    refusal,
    refused_run,
)
from nnlite_benchmark.protocol.passes import continuous_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = structlog.get_logger()

#: Faults of a phone that only its user can end: the worker waits.
_USER_FAULTS: Final = frozenset({Fault.DISCONNECTED, Fault.UNAUTHORIZED})


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
        """Create the parts; nothing is started yet.

        Args:
            name: unique among all devices of an installation.
            pool: the set of interchangeable devices that it belongs to.
            transport: how the device is connected to this host (emulator, USB or TCP).
            folder: of this device in NNLITE_HOME, for logs, PID files and its adb server.
            stop: set when the worker is asked to stop.
            on_stage: called with each stage of a run.

        Raises:
            SettingsError: the app's package or the adb program is missing.
        """
        self.name: Final = name
        self.pool: Final = pool
        self._settings = settings
        self._transport = transport
        self._stop = stop
        self._on_stage = on_stage
        self._server = AdbServer(settings.android, settings.home, folder, usb_serial=transport.usb_serial)
        self._server.end_leftover()
        self._shell = Shell(self._server.client, transport.serial, settings.android, stop)
        self._app = App(self._shell, find_apk(settings.android, settings.home), settings.android)
        self._files = DeviceFiles(self._shell)
        self._runs = AppRuns(self._shell, self._app, settings, on_stage)
        self._clocks = ClockControl(self._shell, ClockPolicy(settings.android.clocks))
        self._cores = cores_of(settings)
        self._measurement_lock = (
            measurement_lock(settings, self._cores) if transport.uses_host_cores else None
        )
        #: Last duration of the canary; see `Device`.
        self.canary_ns: int | None = None
        #: See `Device`; of the CPU: its canary says nothing of the speed of a GPU or NPU.
        self.speeds: Final = FastSpeeds()
        self._last_canary: Final = LastCanary()
        self._context: DeviceContext | None = None

    @property
    def kind(self) -> DeviceKind:
        """Emulator or phone."""
        return self._context.kind if self._context else self._transport.kind

    def prepare(self) -> None:
        """Start the adb server and the emulator unless they run, and wait until the device is ready."""
        self._context = None
        if not self._server.alive:
            self._server.start(self._stop)
        self._transport.start(self._server.port, self._stop)
        self.check()

    def check(self) -> None:
        """Wait until the device is ready: booted, app installed, canary output correct."""
        try:
            is_changed = self._become_ready()
        except DeviceFailure as failure:
            if not self._transport.boot_cold_instead(failure.reason, self._server.port, self._stop):
                raise
            is_changed = self._become_ready()
        self._transport.ready(self._stop, changed=is_changed)
        self._context = self._read_context()

    def _become_ready(self) -> bool:
        """Return whether the app was installed."""
        self._last_canary.forget()
        self._shell.stage = Stage.PREPARE
        self._shell.serial = self._transport.serial
        readiness = Readiness(
            self._shell,
            self._settings.android,
            announce=lambda: self._transport.announce(self._adb_client()),
            absent_hint=self._transport.absent_hint,
            check_alive=self._check_alive,
            stop=self._stop,
        )
        try:
            readiness.wait()
        finally:
            self._transport.boot_over()
        self._app.user = readiness.user
        is_changed = self._app.ensure_installed()
        self._app.remove_leftovers()
        self.canary_ns = canary_ns(self._runs, self._settings.measurement, device=self.name)
        self._shell.stage = Stage.PREPARE
        return is_changed

    def recovery_steps(self) -> Sequence[RecoveryStep]:
        """Return: reconnect; restart the adb server; the transport's steps; reinstall the app (phones)."""
        reinstall = RecoveryStep(name="reinstall the app", run=self._app.uninstall)
        return (
            RecoveryStep(name="reconnect", run=self._reconnect),
            RecoveryStep(name="restart the adb server", run=lambda: self._server.start(self._stop)),
            *self._transport.recovery_steps(self._shell, lambda: self._server.port, self._stop),
            *((reinstall,) if self._transport.kind is DeviceKind.PHONE else ()),
        )

    def pause_reason(self) -> str | None:
        """Return why a phone should take no work now: low battery or too warm."""
        if self._transport.kind is not DeviceKind.PHONE:
            return None
        state = android_state(self._shell.shell_output)
        return reason_to_pause(state, self._settings.phone, self._settings.measurement.max_thermal_status)

    def needs_user(self, fault: Fault) -> bool:
        """Return whether no recovery step helps: a phone was unplugged, or a person must allow something."""
        is_phone = self._transport.kind is DeviceKind.PHONE
        return fault is Fault.OWNER_NEEDED or (is_phone and fault in _USER_FAULTS)

    def highest_khz(self, stop: threading.Event) -> Mapping[int, int | None]:
        """Return the cores and the highest frequency of each; see `Device`."""
        with self._shell.cancelled_by(stop), self._root_cause_raised():
            return highest_khz(self._shell.shell_output)

    def context(self) -> DeviceContext:
        """Return the properties that are constant until a reboot; read when the device became ready."""
        if self._context is None:
            self._context = self._read_context()
        return self._context

    @contextmanager
    def loaded(self, job: BenchmarkJob, stop: threading.Event) -> Iterator[None]:
        """Push the artifact once for all backends; remove it afterwards."""
        name = f"{job.artifact_sha256}.tflite"
        self._shell.stage = Stage.PUSH
        self._on_stage(Stage.PUSH)
        try:
            with self._shell.cancelled_by(stop), self._root_cause_raised():
                self._files.put(job.artifact, name, job.artifact_sha256)
            yield
        finally:
            with self._shell.cancelled_by(stop):
                self._files.try_removing([self._files.path(name)])

    def run(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> MeasurementReport:
        """Measure `job` between two canaries; raises as `Device.run`."""
        settings = self._settings.measurement
        threads = job.in_force(settings).threads
        configuration = cpu_configuration(
            f"app {self._app.sha256[:16]}", threads, job.cores or self._measuring_cores
        )
        is_cpu = backend in CPU_BACKENDS
        if backend not in BACKENDS[self.kind]:
            absent = refused_run(f"the app has no {backend}; hosts have", threads=threads)
            raise refusal(job, backend, absent, settings)
        is_phone = self.kind is DeviceKind.PHONE
        with self._shell.cancelled_by(stop), self._root_cause_raised():
            self._on_stage(Stage.QUIET)
            free_because = self._clocks.hold(self.context().api_level) if is_phone else None
            report = measure(
                job,
                backend,
                self._runs,
                settings,
                device=self.name,
                quiet=self._quiet(stop),
                last=self._last_canary,
                gate=self.speeds.gate(settings, configuration) if is_cpu else None,
            )
        if is_phone:
            clocks = clocks_of(self._clocks.asked, free_because, report)
            conditions = conditions_of(report, self.context(), self._settings.phone)
            report = report.model_copy(update={"clocks": clocks, "conditions": conditions})
        self.speeds.learn_from(report, settings, configuration)
        if report.canary is not None:
            self.canary_ns = report.canary.after_p25_ns
        return report

    def profile(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> Profile:
        """Return why there is none: TensorFlow Lite's Java API, which the app uses, has no profiler."""
        return Profile(error="TensorFlow Lite in the app has no profiler; profile on a host")

    def continuous(
        self, job: BenchmarkJob, backend: Backend, stage: Stage, seconds: int, *, stop: threading.Event
    ) -> RunReport:
        """Run the app without pauses once more; see `Device`."""
        self._last_canary.forget()  # it will not be what ran last
        settings, quiet = self._settings.measurement, self._quiet(stop)
        with self._shell.cancelled_by(stop):
            return continuous_report(job, backend, self._runs, settings, quiet, stage=stage, seconds=seconds)

    def classify(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> "NDArray[Any]":
        """Run the job's samples in the app; see `Device`."""
        self._last_canary.forget()  # it will not be what ran last
        with self._shell.cancelled_by(stop), self._root_cause_raised():
            return classified(job, backend, self._runs, self._settings.measurement)

    @property
    def pulls_files(self) -> bool:
        """Whether runs write their files where the shell may read them; else the app sends them."""
        return self._runs.pulls_files

    def shell_result(self, command: str, stop: threading.Event) -> CommandResult:
        """Run a command in the device's shell, for a diagnosis; raises DeviceFailure or Stopped."""
        with self._shell.cancelled_by(stop), self._root_cause_raised():
            return self._shell.run(command)

    def close(self) -> None:
        """Stop emulator and adb server and release the measurement lock; may be called again."""
        try:
            self._release_clocks()
            self._transport.stop()
        finally:
            self._server.stop()
        if self._measurement_lock is not None:
            self._measurement_lock.close()
            self._measurement_lock = None

    def _release_clocks(self) -> None:
        try:
            with self._shell.cleanup_mode():
                self._clocks.release()
        except DeviceFailure as failure:
            log.info("the clocks stay fixed until the next boot", device=self.name, reason=failure.reason)

    def _check_alive(self) -> None:
        """Raise DeviceFailure if the emulator or the adb server has ended."""
        self._transport.check()
        if not self._server.alive:
            raise DeviceFailure(
                Fault.ADB_SERVER_GONE, self._shell.stage, f"the worker's adb server of {self.name} has ended"
            )

    @contextmanager
    def _root_cause_raised(self) -> Iterator[None]:
        """Replace a failure that is a consequence of the emulator's or the adb server's end by that cause."""
        try:
            yield
        except DeviceFailure as failure:
            try:
                self._check_alive()
            except DeviceFailure as cause:
                raise DeviceFailure(cause.fault, failure.stage, cause.reason, cause.details) from failure
            raise

    def _reconnect(self) -> None:
        client = self._adb_client()
        try:
            client.reconnect_offline()
            if ":" in self._shell.serial:
                client.disconnect(self._shell.serial)
            self._transport.announce(client)
        except ADB_ERRORS as error:
            log.info("reconnecting failed", device=self.name, error=str(error))

    def _adb_client(self) -> AdbClient:
        """Return the adb server's client, whose waits a stop cancels."""

        def check_cancelled() -> None:
            if self._stop.is_set():
                raise Stopped(f"stopped while waiting for the adb server of {self.name}")

        return self._server.client.polled_by(check_cancelled)

    def _read_context(self) -> DeviceContext:
        cores = self._cores
        return android_context(
            self._shell.shell_output,
            name=self.name,
            kind=self._transport.kind,
            pool=self.pool,
            quiet_mode=cores.mode if self._measurement_lock else QuietMode.OWN_MACHINE,
            measuring_cores=self._measuring_cores,
        )

    @property
    def _measuring_cores(self) -> tuple[int, ...]:
        """Cores of this host that an emulator runs on; empty: a phone."""
        return self._cores.measuring if self._measurement_lock else ()

    def _quiet(self, stop: threading.Event) -> AbstractContextManager[QuietResult]:
        return self._measurement_lock.measuring(stop) if self._measurement_lock else always_quiet()
