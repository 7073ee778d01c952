"""Executes one run of the app, from its arguments to a validated report.

Starts `am instrument`, follows its stages, stops it at its deadlines, pulls its
files, and converts every other outcome into a `DeviceFailure`.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from nnlite.artifacts.inputs import write_inputs
from nnlite.backends import CPU_BACKENDS
from nnlite.reports.schema import RunReport
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, ClockPolicy, Fault, Refusal, Stage
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.shell import CommandResult, PullRefused, Shell
from nnlite_benchmark.android.app.app import App
from nnlite_benchmark.android.app.chunks import ChunkAssembler, check_files, checked_folder, file_names
from nnlite_benchmark.android.app.crashes import explain
from nnlite_benchmark.android.app.delegation import agreed_delegation, delegate_refusals, logged_delegation
from nnlite_benchmark.android.app.energy import PhoneEnergy
from nnlite_benchmark.android.app.hardware_counters import AppCounters
from nnlite_benchmark.android.app.instrumentation import AppError, Crashed, Garbled, NotStarted, Reported
from nnlite_benchmark.android.app.request import RunRequest, Transfer, command_line
from nnlite_benchmark.android.app.run_monitor import OnStage, RunMonitor, unreadable
from nnlite_benchmark.android.properties.analytics import android_state
from nnlite_benchmark.android.properties.counters import SystemCounters
from nnlite_benchmark.android.screen import Screen
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.protocol.analysis.measurement import Run, read_run
from nnlite_benchmark.protocol.canary import GATE_FILE
from nnlite_benchmark.protocol.initialization import with_initialization
from nnlite_benchmark.protocol.run_plan import RunPlan
from nnlite_benchmark.protocol.runs import Bounds

log = structlog.get_logger()

#: What is read on the device while the app runs, and added to the report.
Meter = SystemCounters | PhoneEnergy | AppCounters
#: Size limit of the files of a run together.
MAX_FILES_BYTES: Final = 256 * 1024 * 1024


class AppRuns:
    """Runs the app on one device; the device's `RunOnce`."""

    def __init__(self, shell: Shell, app: App, settings: Settings, on_stage: OnStage) -> None:
        self._shell = shell
        self._app = app
        self._files = DeviceFiles(shell)
        self._screen = Screen(shell)
        self._settings = settings
        self._on_stage = on_stage
        self._transfer = Transfer(settings.android.transfer)

    def __call__(self, plan: RunPlan) -> Run:
        """Run the plan in a new process of the app; see `RunOnce`."""
        run = self._in_front(plan)
        # The app's TensorFlow Lite has a cache for the GPU delegate only: none of XNNPACK's weights.
        with_cache = self._settings.measurement.warm_init and plan.backend is Backend.GPU
        if run.report.error is not None or plan.stage is not None or not with_cache:
            return run
        again = RunPlan(
            job=plan.job,
            backend=plan.backend,
            bounds=Bounds.least(),
            stage=Stage.INITIALIZE,
            programs=secrets.token_hex(8),
        )
        return with_initialization(
            run, "the GPU delegate's programs", lambda: self._transferred(again).report
        )

    @property
    def pulls_files(self) -> bool:
        """Whether the shell may read the files that the app writes, as far as runs have shown."""
        return self._transfer is Transfer.AUTO

    def _in_front(self, plan: RunPlan) -> Run:
        """Run until the window was in front: Android schedules others as background processes.

        Raises:
            DeviceFailure: `not_in_front` after `front_tries` runs.
        """
        tries = self._settings.android.front_tries
        for attempt in range(1, tries + 1):
            run = self._transferred(plan)
            if run.report.in_front is not False:
                return run
            focus = self._screen.focus()
            log.warning("the app was not in front", serial=self._shell.serial, window=focus, attempt=attempt)
            self._screen.close_dialog()
        raise self._failure(
            Fault.NOT_IN_FRONT, f"the app was not in front in {tries} runs; now the focus is on {focus}"
        )

    def _transferred(self, plan: RunPlan) -> Run:
        """Run once; if the shell may not read the app's files, this and later runs send them as chunks."""
        try:
            return self._once(plan, self._transfer)
        except PullRefused as refused:
            if self._transfer is Transfer.STATUS:
                raise
            log.warning("the app's files cannot be pulled; the app will send them", reason=refused.reason)
            run = self._once(plan, Transfer.STATUS)
            self._transfer = Transfer.STATUS
            return run

    def _once(self, plan: RunPlan, transfer: Transfer) -> Run:
        self._enter(plan.stage or Stage.PUSH)
        job, limits = plan.job, plan.limits(self._settings.measurement)
        run_id = secrets.token_hex(8)
        leftovers = [self._files.path(f"{run_id}_input_{number}.raw") for number in range(len(job.inputs))]
        with _scratch_folder(self._shell.stage) as folder:
            try:
                inputs = write_inputs(job.inputs, job.seed, folder, job.samples)
                request = RunRequest(
                    run=run_id,
                    model=self._files.put(job.artifact, f"{job.artifact_sha256}.tflite", job.artifact_sha256),
                    inputs=tuple(self._files.put(file, f"{run_id}_{file.name}") for file in inputs),
                    samples=len(job.samples[0]) if job.samples else 0,
                    backend=plan.backend,
                    threads=limits.threads,
                    cores=job.cores,
                    precision_loss=self._settings.android.gpu_fp16,
                    programs=plan.programs,
                    sustained=self._settings.android.clocks == ClockPolicy.SUSTAINED.value,
                    max_headroom=self._settings.phone.max_headroom,
                    cool_s=self._settings.phone.cool_s,
                    transfer=transfer,
                    user=self._app.user,
                    bounds=plan.bounds,
                    gate=plan.gate,
                    continuous_s=plan.continuous_s,
                    gate_model=self._files.put(GATE_FILE, GATE_FILE.name) if plan.gate else "",
                )
                self._screen.wake()
                self._shell.run("logcat -c")
                return self._run(request, limits, folder, plan.stage, leftovers)
            finally:
                self._files.try_removing(leftovers)

    def _run(
        self,
        request: RunRequest,
        limits: MeasurementSettings,
        folder: Path,
        stage: Stage | None,
        leftovers: list[str],
    ) -> Run:
        """Run the app and read its results; appends the folder that it created to `leftovers`."""
        started_at, before = datetime.now(UTC), android_state(self._shell.shell_output)
        monitor = RunMonitor(
            self._settings,
            limits,
            lambda app_stage: self._enter(stage or app_stage),
            lambda: self._bring_up(request.user),
        )
        meter = self._meter(request, stage)

        def on_poll() -> None:
            monitor.check()
            if meter is not None and monitor.stage is Stage.RUN and not monitor.has_ended:
                meter.note()

        try:
            result = self._shell.run(command_line(request), on_data=monitor.feed, on_poll=on_poll)
        except BaseException:
            # Closing the adb connection does not end the run.
            self._app.try_force_stop()
            raise
        report = self._report(monitor, result, request)
        if meter is not None:
            report = meter.added_to(report)
        self._enter(stage or Stage.PULL)
        try:
            if report.folder is not None:
                leftovers.append(checked_folder(report.folder, request.run))
            self._fetch(report, monitor.chunks, folder)
            return read_run(
                self._with_delegation(report, request.backend, monitor.pid),
                folder,
                started_at=started_at,
                before=before,
                after=android_state(self._shell.shell_output),
                gate=request.gate,
            )
        except (ValueError, TypeError) as error:
            raise self._failure(
                Fault.BAD_REPORT, f"the app's files do not fit its report: {error}"
            ) from error

    def _meter(self, request: RunRequest, stage: Stage | None) -> Meter | None:
        """Return what is read while a run of a stage lasts; None: nothing."""
        if stage is None:
            return SystemCounters(self._shell.shell_output)
        if stage is Stage.ENERGY:
            return PhoneEnergy(self._shell.shell_output, request.continuous_s)
        # Canaries and initializations have a stage of their own, and nothing that could be noisy.
        return AppCounters(self._shell, request.continuous_s) if stage is Stage.COUNTERS else None

    def _bring_up(self, user: int) -> None:
        log.info("the app's window is not in front; starting it from the shell", serial=self._shell.serial)
        self._screen.close_dialog()
        self._screen.wake()
        self._screen.bring_up_app(user)

    def _report(self, monitor: RunMonitor, result: CommandResult, request: RunRequest) -> RunReport:
        """Return the report; raise DeviceFailure for a run that ended without one."""
        end = monitor.finish(result)
        match end:
            case Reported(report=report):
                return report
            case Crashed(message=message):
                return self._crashed(message, monitor, request)
            case AppError(text=text):
                self._app.try_force_stop()
                raise self._failure(Fault.COMMAND_FAILED, f"the app cannot run the request: {text}")
            case NotStarted(message=message):
                raise self._failure(Fault.INSTALL_FAILED, f"the app does not start: {message}")
            case Garbled(why=why):
                self._app.try_force_stop()
                raise unreadable(self._shell.stage, f"{self._shell.serial}: {why}")

    def _crashed(self, message: str, monitor: RunMonitor, request: RunRequest) -> RunReport:
        """Return a refusal if the delegate's library crashed; raise `app_crashed` otherwise."""
        crash = explain(self._shell.shell_output("logcat -b crash -d -t 400"), pid=monitor.pid)
        reason = f"the app crashed: {crash.summary or message}"
        if crash.blames is not request.backend or request.backend in CPU_BACKENDS:
            raise self._failure(Fault.APP_CRASHED, reason)
        return RunReport(
            runtime="TFLite",
            runtime_version="",
            threads=request.threads,
            stage=monitor.stage or Stage.INITIALIZE,
            error=reason,
            refusal=Refusal.RUNTIME,
        )

    def _fetch(self, report: RunReport, chunks: ChunkAssembler, folder: Path) -> None:
        """Bring outputs and samples into `folder` and verify them against the report."""
        names = file_names(report)
        size = sum(output.size_bytes or 0 for output in report.outputs)
        size += report.samples_file.size_bytes if report.samples_file else 0
        if size > MAX_FILES_BYTES:
            raise ValueError(f"its files have {size} bytes together, the most are {MAX_FILES_BYTES}")
        if report.folder is None:
            chunks.write(folder)
        else:
            left = MAX_FILES_BYTES
            for name in names:
                self._shell.pull(f"{report.folder}/{name}", folder / name, max_bytes=left)
                left -= (folder / name).stat().st_size
        check_files(report, folder)

    def _with_delegation(self, report: RunReport, backend: Backend, pid: int | None) -> RunReport:
        """Verify the app's count of delegated nodes against its log."""
        report = report.model_copy(update={"delegate_refusals": delegate_refusals(report.delegate_messages)})
        if pid is None or report.error is not None or backend is Backend.CPU_PLAIN:
            return report
        logged = logged_delegation(self._shell.shell_output(f"logcat -d -v threadtime --pid={pid}"), backend)
        agreed = agreed_delegation(report.delegation, logged)
        if agreed is not report.delegation:
            log.warning("the app's log has another delegation", app=report.delegation, log=logged)
        return report.model_copy(update={"delegation": agreed})

    def _enter(self, stage: Stage) -> None:
        self._shell.stage = stage
        self._on_stage(stage)

    def _failure(self, fault: Fault, reason: str) -> DeviceFailure:
        return DeviceFailure(fault, self._shell.stage, f"{self._shell.serial}: {reason}")


@contextmanager
def _scratch_folder(stage: Stage) -> Iterator[Path]:
    """Yield a temporary folder on this host for one run; raises `storage_full` if it cannot be written."""
    try:
        with tempfile.TemporaryDirectory(prefix="nnlite-run-") as name:
            yield Path(name)
    except OSError as error:
        reason = f"files of this host: {error}; is there space below {tempfile.gettempdir()}? Else set TMPDIR"
        raise DeviceFailure(Fault.STORAGE_FULL, stage, reason) from error
