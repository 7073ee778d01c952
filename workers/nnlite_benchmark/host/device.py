"""The host as a device: the measurement protocol in a process of its own, between two canaries.

Its measurements say `kind = host` and are no prediction for a phone.
"""

import os
import platform
import tempfile
import threading
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from nnlite.failures import Failure, FailureClass
from nnlite.inputs import raw_bytes, seeded_input
from nnlite.quiet import Measurer, choose_cores
from nnlite.results.report import Canary, DeviceContext, MeasurementReport, Quiet, RunReport
from nnlite.settings import MeasurementSettings, Settings
from nnlite.vocabulary import Backend, DeviceKind, Precision, Stage
from nnlite_benchmark import canary
from nnlite_benchmark.device import BenchmarkJob, InputSpec, RuntimeRefusal
from nnlite_benchmark.host.context import host_context, host_state
from nnlite_benchmark.host.process import Deadlines, OnStage, run_process
from nnlite_benchmark.host.runner import RunRequest
from nnlite_benchmark.measurement import Run, measurement_report, read_run
from nnlite_benchmark.parity import device_parity
from nnlite_benchmark.protocol import Bounds, between_canaries

DEFAULT_POOL: Final = "host"
CANARY_PERCENTILE: Final = 25


class HostDevice:
    """This machine, its CPU and LiteRT with XNNPACK; see the protocol `Device`."""

    kind: Final = DeviceKind.HOST

    def __init__(
        self,
        settings: Settings,
        *,
        name: str | None = None,
        pool: str = DEFAULT_POOL,
        on_stage: OnStage = lambda stage, pid: None,
    ) -> None:
        """Open the device; nothing is started or locked yet.

        Args:
            settings: `home` has the quiet locks, `measurement` the protocol's bounds.
            name: unique among all devices; default: made from the machine's name.
            pool: the set of interchangeable devices that this one belongs to.
            on_stage: hears where a run is, and the PID of the process that works on it.
        """
        self.name: Final = name or f"host-{platform.node() or 'unnamed'}"
        self.pool: Final = pool
        self._settings: MeasurementSettings = settings.measurement
        self._on_stage = on_stage
        self._cores = choose_cores(self._settings.cores)
        self._measurer = Measurer(
            settings.home,
            self._cores,
            timeout_s=self._settings.quiet_timeout_s,
            batch_s=self._settings.quiet_batch_s,
        )

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors of the quiet locks, which a forked child must close."""
        return self._measurer.fds

    def prepare(self) -> None:
        """Run the canary once; raises `Failure` of class `device` when its output is wrong."""
        self._canary_ns(threading.Event())

    def context(self) -> DeviceContext:
        """Return what stays the same until this machine is started anew."""
        return host_context(self.name, self.pool, self._cores)

    def run(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> MeasurementReport:
        """Measure `job` between two canaries on a quiet machine; raises as `Device.run` says."""
        if backend is not Backend.CPU:
            raise self._refusal(job, backend, _refused_run(f"host has no {backend} backend", self._settings))
        self._on_stage(Stage.QUIET, os.getpid())
        with self._measurer.measuring(stop) as quietness:
            guarded = between_canaries(
                lambda: self._canary_ns(stop),
                lambda: self._measured(job, stop),
                self._settings.max_canary_drift,
            )
        return measurement_report(
            job,
            backend,
            guarded.result,
            self._settings,
            canary=Canary(
                before_p25_ns=guarded.before_ns,
                after_p25_ns=guarded.after_ns,
                drift=guarded.drift,
                repeated=guarded.repeated,
            ),
            quiet=Quiet(
                mode=quietness.mode, quiet=quietness.quiet, waited_ns=round(quietness.waited_s * 1e9)
            ),
        )

    def close(self) -> None:
        """Let go of the quiet locks; measuring processes never outlive `run`."""
        self._measurer.close()

    def _measured(self, job: BenchmarkJob, stop: threading.Event) -> Run:
        run = self._run(job, Bounds.of(self._settings), stop, self._on_stage)
        if run.report.error is not None:
            raise self._refusal(job, Backend.CPU, run)
        return run

    def _refusal(self, job: BenchmarkJob, backend: Backend, run: Run) -> RuntimeRefusal:
        report = measurement_report(job, backend, run, self._settings)
        return RuntimeRefusal(
            run.report.stage,
            run.report.error or "refused",
            report,
            {"backend": backend.value, "runtime": f"{report.runtime} {report.runtime_version}".strip()},
        )

    def _canary_ns(self, stop: threading.Event) -> int:
        """Run the canary; returns the 25th percentile of its runs."""
        bounds = Bounds.of(
            self._settings.model_dump()
            | {
                "warmup_min_runs": 3,
                "warmup_min_s": 0,
                "min_runs": self._settings.canary_runs,
                "min_s": 0,
                "few_runs": self._settings.canary_runs,
            }
        )
        try:
            run = self._run(_CANARY_JOB, bounds, stop, lambda _, pid: self._on_stage(Stage.CANARY, pid))
        except Failure as failure:
            reason = f"the canary on {self.name}: {failure.reason}"
            raise Failure(failure.failure_class, Stage.CANARY, reason, failure.details) from failure
        if run.report.error is not None:
            reason = f"the canary does not run on {self.name}: {run.report.error}"
            raise Failure(FailureClass.DEVICE, Stage.CANARY, reason)
        expected = np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4").reshape(canary.OUTPUT_SHAPE)
        parity = device_parity([expected], list(run.outputs), Precision.FP32, Backend.CPU)
        if not parity.ok:
            raise Failure(
                FailureClass.DEVICE,
                Stage.CANARY,
                f"{self.name} computes the canary wrongly ({parity.rule}: {parity.worst}, at most "
                f"{parity.limit}); check this machine and its ai-edge-litert",
                {"outputs": [tensor.tolist() for tensor in run.outputs]},
            )
        return round(float(np.percentile(run.samples_ns, CANARY_PERCENTILE)))

    def _run(self, job: BenchmarkJob, bounds: Bounds, stop: threading.Event, on_stage: OnStage) -> Run:
        before, started_at = host_state(self._cores.measuring), datetime.now(UTC)
        with tempfile.TemporaryDirectory(prefix="nnlite-run-") as name:
            folder = Path(name)
            request = RunRequest(
                artifact=str(job.artifact.resolve()),
                inputs=_written_inputs(job, folder),
                folder=name,
                threads=self._settings.threads,
                cores=self._cores.measuring,
                bounds=bounds,
                parent_pid=os.getpid(),
            )
            deadlines = Deadlines.of(self._settings)
            report = run_process(request, deadlines, stop=stop, on_stage=on_stage)
            after = host_state(self._cores.measuring)
            try:
                return read_run(report, folder, started_at=started_at, before=before, after=after)
            except (OSError, ValueError) as error:
                reason = f"the measuring process wrote results that cannot be read: {error}"
                raise Failure(FailureClass.DEVICE, report.stage, reason) from error


_CANARY_JOB: Final = BenchmarkJob(
    artifact=canary.MODEL_FILE,
    artifact_sha256="",
    model_name="canary",
    precision=Precision.FP32,
    inputs=(InputSpec(name="input", shape=canary.INPUT_SHAPE, dtype="float32"),),
    seed=canary.SEED,
)


def _written_inputs(job: BenchmarkJob, folder: Path) -> tuple[str, ...]:
    files = []
    for number, spec in enumerate(job.inputs):
        file = folder / f"input_{number}.raw"
        try:
            file.write_bytes(raw_bytes(seeded_input(spec.shape, spec.dtype, job.seed)))
        except OSError as error:
            reason = f"cannot write the input to {file}: {error.strerror}; free space there or set TMPDIR"
            raise Failure(FailureClass.DEVICE, Stage.INITIALIZE, reason) from error
        files.append(str(file))
    return tuple(files)


def _refused_run(error: str, settings: MeasurementSettings) -> Run:
    report = RunReport(
        runtime="LiteRT",
        runtime_version=version("ai-edge-litert"),
        threads=settings.threads,
        stage=Stage.INITIALIZE,
        error=error,
    )
    return Run(report=report, samples_ns=np.empty(0, np.int64), outputs=(), started_at=datetime.now(UTC))
