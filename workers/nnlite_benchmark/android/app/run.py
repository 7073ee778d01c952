"""One run of the app, from its arguments to a checked report.

Starts `am instrument`, follows the stages that it announces, ends it at its
limits, brings its files over, and says exactly what went wrong otherwise.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from nnlite.artifacts.inputs import artifact_inputs, raw_bytes
from nnlite.reports.schema import RunReport
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, Fault, Refusal, Stage
from nnlite_benchmark.android.adb.files import DeviceFiles
from nnlite_benchmark.android.adb.shell import PullRefused, Shell
from nnlite_benchmark.android.app.app import PACKAGE, App
from nnlite_benchmark.android.app.chunks import ChunkAssembler, check_files, file_names
from nnlite_benchmark.android.app.crashes import explain
from nnlite_benchmark.android.app.delegation import agreed_delegation, logged_delegation
from nnlite_benchmark.android.app.instrumentation import AppError, Crashed, Garbled, NotStarted, Reported
from nnlite_benchmark.android.app.request import RunRequest, Transfer, command_line
from nnlite_benchmark.android.app.run_monitor import OnStage, RunMonitor, unreadable
from nnlite_benchmark.android.properties.analytics import android_state
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure
from nnlite_benchmark.protocol.measurement import Run, read_run
from nnlite_benchmark.protocol.runs import Bounds

log = structlog.get_logger()

#: Largest file that a run may leave.
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
_WAKE: Final = "input keyevent KEYCODE_WAKEUP; wm dismiss-keyguard; logcat -c"


class AppRuns:
    """Runs the app on one device; the device's `RunOnce`."""

    def __init__(self, shell: Shell, app: App, settings: Settings, on_stage: OnStage) -> None:
        self._shell = shell
        self._app = app
        self._files = DeviceFiles(shell)
        self._settings = settings
        self._on_stage = on_stage
        self._transfer = Transfer(settings.android.transfer)

    def __call__(self, job: BenchmarkJob, backend: Backend, bounds: Bounds, *, stage: Stage | None) -> Run:
        """Run `job` in an app process of its own; see `RunOnce`.

        A device whose shell may not read what the app writes is asked to send it, now and from then on.
        """
        try:
            return self._once(job, backend, bounds, stage, self._transfer)
        except PullRefused as refused:
            if self._transfer is Transfer.STATUS:
                raise
            log.warning("the app's files cannot be pulled; it is to send them", reason=refused.reason)
            run = self._once(job, backend, bounds, stage, Transfer.STATUS)
            self._transfer = Transfer.STATUS
            return run

    def _once(
        self, job: BenchmarkJob, backend: Backend, bounds: Bounds, stage: Stage | None, transfer: Transfer
    ) -> Run:
        self._enter(stage or Stage.PUSH)
        run_id = secrets.token_hex(8)
        leftovers = [self._files.path(f"{run_id}_input_{number}.raw") for number in range(len(job.inputs))]
        with _scratch_folder(self._shell.stage) as folder:
            try:
                request = RunRequest(
                    run=run_id,
                    model=self._files.put(job.artifact, f"{job.artifact_sha256}.tflite", job.artifact_sha256),
                    inputs=self._push_inputs(job, run_id, folder),
                    backend=backend,
                    threads=self._settings.measurement.threads,
                    precision_loss=self._settings.android.gpu_fp16,
                    transfer=transfer,
                    bounds=bounds,
                    min_normal_runs=self._settings.measurement.min_runs,
                )
                self._shell.run(_WAKE)
                return self._run(request, folder, stage, leftovers)
            finally:
                self._files.try_removing(leftovers)

    def _run(self, request: RunRequest, folder: Path, stage: Stage | None, leftovers: list[str]) -> Run:
        """Run the app and read what it left; `leftovers` grows by the folder that it made."""
        started_at, before = datetime.now(UTC), android_state(self._shell.ask)
        following = RunMonitor(self._settings, lambda seen: self._enter(stage or seen))
        try:
            self._shell.run(command_line(request), on_data=following.feed, on_look=following.look)
        except BaseException:
            # AttemptEnd the adb connection does not end the run.
            self._app.try_force_stop()
            raise
        report = self._report(following, request)
        self._enter(stage or Stage.PULL)
        try:
            if report.folder is not None:
                leftovers.append(_checked_folder(report.folder, request.run))
            self._fetch(report, following.pieces, folder)
            return read_run(
                self._with_delegation(report, request.backend, following.pid),
                folder,
                started_at=started_at,
                before=before,
                after=android_state(self._shell.ask),
            )
        except (ValueError, TypeError) as error:
            raise self._failure(
                Fault.BAD_REPORT, f"the app's files do not fit its report: {error}"
            ) from error

    def _report(self, following: RunMonitor, request: RunRequest) -> RunReport:
        """Return the report, or what follows from an end without one."""
        ending = following.finish()
        match ending:
            case Reported(report=report):
                return report
            case Crashed(message=message):
                return self._crashed(message, following, request)
            case AppError(text=text):
                self._app.try_force_stop()
                raise self._failure(Fault.COMMAND_FAILED, f"the app cannot do it: {text}")
            case NotStarted(message=message):
                raise self._failure(Fault.INSTALL_FAILED, f"the app does not start: {message}")
            case Garbled(why=why):
                self._app.try_force_stop()
                raise unreadable(self._shell.stage, f"{self._shell.serial}: {why}")

    def _crashed(self, message: str, following: RunMonitor, request: RunRequest) -> RunReport:
        """Blame the delegate whose library the tombstone names; the device otherwise."""
        crash = explain(self._shell.ask("logcat -b crash -d -t 400"), pid=following.pid)
        reason = f"the app crashed: {crash.summary or message}"
        if crash.blames is not request.backend or request.backend is Backend.CPU:
            raise self._failure(Fault.APP_CRASHED, reason)
        return RunReport(
            runtime="TFLite",
            runtime_version="",
            threads=request.threads,
            stage=following.stage or Stage.INITIALIZE,
            error=reason,
            refusal=Refusal.RUNTIME,
        )

    def _fetch(self, report: RunReport, pieces: ChunkAssembler, folder: Path) -> None:
        """Bring outputs and samples into `folder` and compare them with the report."""
        names = file_names(report)
        if report.folder is None:
            pieces.write(folder)
        else:
            for name in names:
                self._shell.pull(f"{report.folder}/{name}", folder / name, max_bytes=MAX_FILE_BYTES)
        check_files(report, folder)

    def _with_delegation(self, report: RunReport, backend: Backend, pid: int | None) -> RunReport:
        """Check the app's count of delegated nodes against its log."""
        if pid is None or report.error is not None:
            return report
        logged = logged_delegation(self._shell.ask(f"logcat -d -v threadtime --pid={pid}"), backend)
        agreed = agreed_delegation(report.delegation, logged)
        if agreed is not report.delegation:
            log.warning("the app's own log says of delegation", app=report.delegation, log=logged)
        return report.model_copy(update={"delegation": agreed})

    def _push_inputs(self, job: BenchmarkJob, run_id: str, folder: Path) -> tuple[str, ...]:
        paths = []
        for number, tensor in enumerate(artifact_inputs(job.inputs, job.seed)):
            file = folder / f"input_{number}.raw"
            file.write_bytes(raw_bytes(tensor))
            paths.append(self._files.put(file, f"{run_id}_input_{number}.raw"))
        return tuple(paths)

    def _enter(self, stage: Stage) -> None:
        self._shell.stage = stage
        self._on_stage(stage)

    def _failure(self, fault: Fault, reason: str) -> DeviceFailure:
        return DeviceFailure(fault, self._shell.stage, f"{self._shell.serial}: {reason}")


def _checked_folder(folder: str, run: str) -> str:
    """Return the app's folder of this run, which will be removed.

    Raises:
        ValueError: it is not the app's, or not this run's.
    """
    parts = folder.split("/")
    if not folder.startswith("/") or parts[-1] != run or PACKAGE not in parts or ".." in parts:
        raise ValueError(f"folder {folder!r} is not the app's folder of run {run}")
    return folder


@contextmanager
def _scratch_folder(stage: Stage) -> Iterator[Path]:
    """Yield a folder of this host for one run; one that cannot be written is a fault of its own kind."""
    try:
        with tempfile.TemporaryDirectory(prefix="nnlite-run-") as name:
            yield Path(name)
    except OSError as error:
        reason = f"files of this host: {error}; is there space below {tempfile.gettempdir()}? Else set TMPDIR"
        raise DeviceFailure(Fault.STORAGE_FULL, stage, reason) from error
