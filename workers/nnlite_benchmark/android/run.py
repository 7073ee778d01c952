"""One run of the app, from its arguments to a checked report.

Starts `am instrument`, follows the stages that it announces, ends it at its
limits, brings its files over, and says exactly what went wrong otherwise.
"""

import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from nnlite.inputs import raw_bytes, seeded_input
from nnlite.results.report import Delegation, Refusal, RunReport
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, Fault, Stage
from nnlite_benchmark.android.analytics import android_state
from nnlite_benchmark.android.app import PACKAGE, App
from nnlite_benchmark.android.crashes import explain
from nnlite_benchmark.android.delegation import delegations
from nnlite_benchmark.android.files import DeviceFiles
from nnlite_benchmark.android.instrumentation import (
    AppError,
    Crashed,
    Ending,
    Garbled,
    InstrumentationParser,
    NotStarted,
    Reported,
    StageEntered,
)
from nnlite_benchmark.android.pieces import Piece, PieceCollector, check_files, file_names
from nnlite_benchmark.android.request import RunRequest, Transfer, command_line
from nnlite_benchmark.android.shell import Shell
from nnlite_benchmark.deadlines import Deadlines
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure
from nnlite_benchmark.measurement import Run, read_run
from nnlite_benchmark.protocol import Bounds

log = structlog.get_logger()

#: Largest file that a run may leave.
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
_WAKE: Final = "input keyevent KEYCODE_WAKEUP; wm dismiss-keyguard; logcat -c"

OnStage = Callable[[Stage], None]


class AppRuns:
    """Runs the app on one device; the device's `RunOnce`."""

    def __init__(self, shell: Shell, app: App, settings: Settings, on_stage: OnStage) -> None:
        self._shell = shell
        self._app = app
        self._files = DeviceFiles(shell)
        self._settings = settings
        self._on_stage = on_stage

    def __call__(self, job: BenchmarkJob, backend: Backend, bounds: Bounds, *, stage: Stage | None) -> Run:
        """Run `job` in an app process of its own; see `RunOnce`."""
        self._enter(stage or Stage.PUSH)
        run_id = secrets.token_hex(8)
        with tempfile.TemporaryDirectory(prefix="nnlite-run-") as name:
            folder = Path(name)
            model = self._files.put(job.artifact, f"{job.artifact_sha256}.tflite", job.artifact_sha256)
            inputs = self._push_inputs(job, run_id, folder)
            try:
                self._shell.run(_WAKE)
                request = RunRequest(
                    run=run_id,
                    model=model,
                    inputs=inputs,
                    backend=backend,
                    threads=self._settings.measurement.threads,
                    precision_loss=self._settings.android.gpu_fp16,
                    transfer=Transfer.AUTO,
                    bounds=bounds,
                    min_normal_runs=self._settings.measurement.min_runs,
                )
                return self._run(request, folder, stage)
            finally:
                self._tidy(inputs)

    def _run(self, request: RunRequest, folder: Path, stage: Stage | None) -> Run:
        started_at, before = datetime.now(UTC), android_state(self._shell.ask)
        following = _Following(self._settings, lambda seen: self._enter(stage or seen))
        try:
            self._shell.run(command_line(request), on_data=following.feed, on_look=following.look)
        except BaseException:
            # Ending the adb connection does not end the run.
            self._app.try_force_stop()
            raise
        report = self._report(following, request)
        if report.error is not None and not report.outputs:
            return read_run(report, folder, started_at=started_at, before=before)
        self._enter(stage or Stage.PULL)
        try:
            self._fetch(report, request, following.pieces, folder)
            return read_run(
                self._with_delegation(report, request.backend, following.pid),
                folder,
                started_at=started_at,
                before=before,
                after=android_state(self._shell.ask),
            )
        except (OSError, ValueError) as error:
            raise self._failure(
                Fault.BAD_REPORT, f"the app's files do not fit its report: {error}"
            ) from error

    def _report(self, following: "_Following", request: RunRequest) -> RunReport:
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
                raise self._failure(Fault.BAD_REPORT, f"the app's answer cannot be read: {why}")

    def _crashed(self, message: str, following: "_Following", request: RunRequest) -> RunReport:
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

    def _fetch(self, report: RunReport, request: RunRequest, pieces: PieceCollector, folder: Path) -> None:
        """Bring outputs and samples into `folder` and compare them with the report."""
        names = file_names(report)
        if report.folder is None:
            pieces.write(folder)
        else:
            remote = _checked_folder(report.folder, request.run)
            for name in names:
                self._shell.pull(f"{remote}/{name}", folder / name, max_bytes=MAX_FILE_BYTES)
            self._files.remove([remote])
        check_files(report, folder)

    def _with_delegation(self, report: RunReport, backend: Backend, pid: int | None) -> RunReport:
        """Check the app's count of delegated nodes against its log, or take it from there."""
        if pid is None:
            return report
        wanted = _DELEGATES[backend]
        lines = delegations(self._shell.ask(f"logcat -d -v threadtime --pid={pid}"))
        seen = [line for line in lines if line.delegate == wanted]
        if not seen:
            return report
        logged = Delegation(
            delegate=wanted,
            delegated_nodes=sum(line.delegated_nodes for line in seen),
            total_nodes=max(line.total_nodes for line in seen),
            partitions=sum(line.partitions or 0 for line in seen),
            counted_from="log",
        )
        told = report.delegation
        if told is not None and told.delegated_nodes != logged.delegated_nodes:
            log.warning("the app and its log count delegated nodes differently", app=told, log=logged)
        return report if told is not None else report.model_copy(update={"delegation": logged})

    def _push_inputs(self, job: BenchmarkJob, run_id: str, folder: Path) -> tuple[str, ...]:
        paths = []
        for number, spec in enumerate(job.inputs):
            file = folder / f"input_{number}.raw"
            file.write_bytes(raw_bytes(seeded_input(spec.shape, spec.dtype, job.seed)))
            paths.append(self._files.put(file, f"{run_id}_input_{number}.raw"))
        return tuple(paths)

    def _tidy(self, inputs: tuple[str, ...]) -> None:
        """Remove the inputs; a device that is gone takes them along or is cleaned when it is back."""
        try:
            with self._shell.heeding(threading.Event()):
                self._files.remove(inputs)
        except DeviceFailure as failure:
            log.info("inputs stay on the device", reason=failure.reason)

    def _enter(self, stage: Stage) -> None:
        self._shell.stage = stage
        self._on_stage(stage)

    def _failure(self, fault: Fault, reason: str) -> DeviceFailure:
        return DeviceFailure(fault, self._shell.stage, f"{self._shell.serial}: {reason}")


class _Following:
    """What the host knows of a run while it goes on: stage, PID, pieces, and when it must be over."""

    def __init__(self, settings: Settings, on_stage: OnStage) -> None:
        self._deadlines = Deadlines.of(settings.measurement)
        self._pull_grace_s = settings.android.pull_grace_s
        self._parser = InstrumentationParser()
        self._on_stage = on_stage
        self._since_s = time.monotonic()
        self._limit_s = settings.android.app_start_timeout_s
        self._wrong: str | None = None
        self.stage: Stage | None = None
        self.pid: int | None = None
        self.pieces = PieceCollector()

    def feed(self, data: bytes) -> None:
        """Read what the app printed."""
        self._take(self._parser.feed(data))

    def look(self) -> None:
        """Raise `app_hung` when the stage has lasted too long."""
        if self._parser.ended or time.monotonic() - self._since_s <= self._limit_s:
            return
        where = self.stage or Stage.INITIALIZE
        what = f"does not finish {where}" if self.stage else "does not begin"
        raise DeviceFailure(Fault.APP_HUNG, where, f"the app {what} within {self._limit_s:.0f} s; ended it")

    def finish(self) -> Ending:
        """Return how it ended."""
        events, ending = self._parser.finish()
        self._take(events)
        return Garbled(why=self._wrong) if self._wrong and isinstance(ending, Reported) else ending

    def _take(self, events: list[StageEntered | Piece]) -> None:
        for event in events:
            if isinstance(event, Piece):
                try:
                    self.pieces.add(event)
                except ValueError as error:
                    self._wrong = str(error)
                continue
            self.stage, self.pid = event.stage, event.pid
            self._since_s = time.monotonic()
            first_s = (event.first_inference_ns or 0) / 1e9
            self._limit_s = self._deadlines.limit_s(event.stage, first_s)
            if event.stage is Stage.RUN:
                self._limit_s += self._pull_grace_s
            self._on_stage(event.stage)


_DELEGATES: Final = {
    Backend.CPU: "TfLiteXNNPackDelegate",
    Backend.GPU: "TfLiteGpuDelegateV2",
    Backend.NPU: "TfLiteNnapiDelegate",
}


def _checked_folder(folder: str, run: str) -> str:
    """Return the app's folder of this run, which will be removed.

    Raises:
        ValueError: it is not the app's, or not this run's.
    """
    parts = folder.split("/")
    if not folder.startswith("/") or parts[-1] != run or PACKAGE not in parts or ".." in parts:
        raise ValueError(f"folder {folder!r} is not the app's folder of run {run}")
    return folder
