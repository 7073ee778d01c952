"""The host as a `Device`: measures in a separate process, between two canaries.

Its backends are the `HOST_RUNTIMES`, measured by the same protocol. Canaries run in LiteRT with XNNPACK
whatever is measured: they tell the speed of the machine.

Its measurements have `kind = host` and do not predict a phone's latency.

More than 300 lines: one class has all methods of the protocol `Device`; what they do is in its parts.
"""

import os
import platform
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from nnlite.artifacts.inputs import write_inputs
from nnlite.backends import HOST_RUNTIMES
from nnlite.host.cores import cores_of
from nnlite.host.quiet import measurement_lock
from nnlite.reports.schema import DeviceContext, MeasurementReport, Profile, RunReport
from nnlite.results.devices import cpu_configuration
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, DeviceKind, Fault, Mode, Stage
from nnlite_benchmark.device import BenchmarkJob, DeviceFailure, RecoveryStep
from nnlite_benchmark.host.context import FrequencyRange, highest_khz, host_context, host_state
from nnlite_benchmark.host.energy import PackageEnergy
from nnlite_benchmark.host.launching import ForkServer
from nnlite_benchmark.host.process import OnStage, profile_process, run_process
from nnlite_benchmark.host.runner import RunRequest
from nnlite_benchmark.host.weight_cache import weight_cache
from nnlite_benchmark.protocol.analysis.measurement import Run, read_run
from nnlite_benchmark.protocol.fast_speed import FastSpeeds
from nnlite_benchmark.protocol.initialization import with_initialization
from nnlite_benchmark.protocol.last_canary import LastCanary
from nnlite_benchmark.protocol.measuring import canary_ns, classified, measure, refusal, refused_run
from nnlite_benchmark.protocol.passes import continuous_report
from nnlite_benchmark.protocol.run_plan import RunOnce, RunPlan
from nnlite_benchmark.protocol.runs import Bounds

DEFAULT_POOL: Final = "host"


class HostDevice:
    """This machine's CPU, with LiteRT and other runtimes; see `Device`."""

    kind: Final = DeviceKind.HOST

    def __init__(
        self,
        settings: Settings,
        *,
        pool: str = DEFAULT_POOL,
        on_stage: OnStage = lambda stage, pid: None,
    ) -> None:
        """Create the device; nothing is started or locked yet.

        Args:
            settings: `quiet` is the folder of the locks, `measurement` has the protocol's bounds.
            pool: the set of interchangeable devices that this one belongs to.
            on_stage: called with each stage of a run and the PID of the measuring process.
        """
        self.name: Final = f"host-{platform.node() or 'unnamed'}"
        self.pool: Final = pool
        self._settings: MeasurementSettings = settings.measurement
        library = settings.runtime_check.library
        self._app_library = None if library is None else str(library.expanduser().absolute())
        self._on_stage = on_stage
        #: Last duration of the canary; see `Device`.
        self.canary_ns: int | None = None
        #: Fast speeds of this machine; see `Device`.
        self.speeds: Final = FastSpeeds()
        self._last_canary: Final = LastCanary()
        self._cores = cores_of(settings)
        self._measurement_lock = measurement_lock(settings, self._cores)
        limits = settings.measurement
        self._fork_server = ForkServer(huge_pages=limits.huge_pages) if limits.fork_server else None

    def prepare(self) -> None:
        """Run the canary once; a host has nothing to start."""
        self.check()

    def check(self) -> None:
        """Run the canary once; raises `DeviceFailure` if its output is wrong."""
        self._last_canary.forget()
        self.canary_ns = canary_ns(self._runner(threading.Event()), self._settings, device=self.name)

    def recovery_steps(self) -> Sequence[RecoveryStep]:
        """Return one step, which only checks again: measuring processes end with their runs."""
        return (RecoveryStep(name="check again", run=lambda: None),)

    def pause_reason(self) -> None:
        """Return None: a host never pauses."""

    def needs_user(self, fault: Fault) -> bool:
        """Return False: a host is never unplugged."""
        return False

    def highest_khz(self, stop: threading.Event) -> Mapping[int, int | None]:
        """Return the cores that measure and the highest frequency of each; see `Device`."""
        return highest_khz(self._cores.measuring)

    def context(self) -> DeviceContext:
        """Return the properties that are constant until this machine reboots."""
        return host_context(self.name, self.pool, self._cores)

    def loaded(self, job: BenchmarkJob, stop: threading.Event) -> AbstractContextManager[None]:
        """Do nothing: artifacts are measured in place."""
        return nullcontext()

    def run(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> MeasurementReport:
        """Measure `job` between two canaries with noise isolation; raises as `Device.run`."""
        if backend not in HOST_RUNTIMES:
            absent = refused_run(
                f"host has no {backend} backend",
                threads=self._settings.threads,
                runtime="LiteRT",
                runtime_version=version("ai-edge-litert"),
            )
            raise refusal(job, backend, absent, self._settings)
        self._on_stage(Stage.QUIET, os.getpid())
        report = measure(
            job,
            backend,
            self._runner(stop),
            self._settings,
            device=self.name,
            quiet=self._measurement_lock.measuring(stop),
            last=self._last_canary,
            gate=self.speeds.gate(self._settings, self._configuration(job)),
        )
        # The gate's canary is run by LiteRT, whatever runtime is measured.
        self.speeds.learn_from(report, self._settings, self._configuration(job))
        if report.canary is not None:
            self.canary_ns = report.canary.after_p25_ns
        return report

    def profile(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> Profile:
        """Run `job` in a process of its own with LiteRT's profiler on, with noise isolation; see `Device`."""
        if backend is not Backend.CPU:
            name = HOST_RUNTIMES[backend].name
            what = f"{name} without XNNPACK" if backend is Backend.CPU_PLAIN else name
            return Profile(error=f"{what} is not profiled; the backend cpu is")
        limits = job.in_force(self._settings).in_mode(Mode.QUICK)
        self._last_canary.forget()  # it will not be what ran last

        def on_stage(stage: Stage, pid: int) -> None:
            self._on_stage(Stage.PROFILE, pid)

        with self._measurement_lock.measuring(stop), _scratch_folder() as folder:
            try:
                request = self._request(job, limits, folder, _write_inputs(job, folder))
                return profile_process(request, limits, stop=stop, on_stage=on_stage)
            except DeviceFailure as failure:
                # The artifact was measured; the device proves at its next canary whether it is well.
                return Profile(error=failure.reason)

    def continuous(
        self, job: BenchmarkJob, backend: Backend, stage: Stage, seconds: int, *, stop: threading.Event
    ) -> RunReport:
        """Run `job` without pauses in a process of its own, with noise isolation; see `Device`."""
        if stage is Stage.COUNTERS:
            why = "a host's events are not counted; simpleperf is Android's"
            return refused_run(why, threads=job.in_force(self._settings).threads).report
        self._last_canary.forget()  # it will not be what ran last
        run, quiet = self._runner(stop), self._measurement_lock.measuring(stop)
        return continuous_report(job, backend, run, self._settings, quiet, stage=stage, seconds=seconds)

    def classify(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> NDArray[Any]:
        """Run the job's samples in a process of their own; see `Device`."""
        self._last_canary.forget()  # it will not be what ran last
        return classified(job, backend, self._runner(stop), self._settings)

    def close(self) -> None:
        """End the fork server and release the measurement lock; measuring processes never outlive `run`."""
        if self._fork_server is not None:
            self._fork_server.close()
        self._measurement_lock.close()

    def _configuration(self, job: BenchmarkJob) -> str:
        """Return the CPU configuration: what the speed of the gate's canary depends on."""
        runtime = f"LiteRT {version('ai-edge-litert')}"
        return cpu_configuration(runtime, job.in_force(self._settings).threads, self._cores_of(job))

    def _cores_of(self, job: BenchmarkJob) -> tuple[int, ...]:
        return job.cores or self._cores.measuring

    def _runner(self, stop: threading.Event) -> RunOnce:
        def run(plan: RunPlan) -> Run:
            def on_stage(entered: Stage, pid: int) -> None:
                self._on_stage(plan.stage or entered, pid)

            result = self._run(plan, stop, on_stage)
            # The canary has a stage of its own; and of these only XNNPACK has a cache.
            cached = plan.stage is None and plan.backend is Backend.CPU and self._settings.warm_init
            if not cached or result.report.error is not None:
                return result
            return self._with_initialization(result, plan.job, stop)

        return run

    def _run(self, plan: RunPlan, stop: threading.Event, on_stage: OnStage) -> Run:
        job, limits = plan.job, plan.limits(self._settings)
        cores = self._cores_of(job)
        before, started_at = host_state(cores), datetime.now(UTC)
        with _scratch_folder() as folder:
            request = self._request(job, limits, folder, _write_inputs(job, folder))
            request = replace(
                request,
                backend=plan.backend,
                bounds=plan.bounds,
                gate=plan.gate,
                continuous_s=plan.continuous_s,
                canary_before_ns=plan.canary_before_ns,
                samples=len(job.samples[0]) if job.samples else 0,
            )
            frequencies, energy = FrequencyRange(cores), PackageEnergy()

            def on_poll(polled: Stage) -> None:
                frequencies.note(polled)
                energy.note(polled)

            report = run_process(
                request,
                limits,
                stop=stop,
                server=self._fork_server,
                on_stage=on_stage,
                on_poll=on_poll,
            )
            disturbance = frequencies.added_to(report.disturbance)
            report = report.model_copy(update={"disturbance": disturbance})
            after = host_state(cores)
            try:
                run = read_run(
                    report, folder, started_at=started_at, before=before, after=after, gate=plan.gate
                )
            except (OSError, ValueError) as error:
                reason = f"the measuring process wrote results that cannot be read: {error}"
                raise DeviceFailure(Fault.PROCESS_DIED, report.stage, reason) from error
            return energy.added_to(run)

    def _with_initialization(self, run: Run, job: BenchmarkJob, stop: threading.Event) -> Run:
        limits = job.in_force(self._settings)
        with _scratch_folder() as folder, weight_cache(job.artifact) as cache:
            request = replace(self._request(job, limits, folder, ()), weight_cache=str(cache))

            def initialize() -> RunReport:
                return run_process(request, limits, stop=stop, server=self._fork_server)

            return with_initialization(run, "XNNPACK's packed weights", initialize)

    def _request(
        self, job: BenchmarkJob, limits: MeasurementSettings, folder: Path, inputs: tuple[str, ...]
    ) -> RunRequest:
        return RunRequest(
            artifact=str(job.artifact.resolve()),
            library=self._app_library,
            inputs=inputs,
            folder=str(folder),
            threads=limits.threads,
            cores=self._cores_of(job),
            bounds=Bounds.of(limits),
            parent_pid=os.getpid(),
        )


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nnlite-run-") as name:
        yield Path(name)


def _write_inputs(job: BenchmarkJob, folder: Path) -> tuple[str, ...]:
    try:
        return tuple(map(str, write_inputs(job.inputs, job.seed, folder, job.samples)))
    except OSError as error:
        what = f"cannot write the input to {error.filename or folder}: {error.strerror}"
        reason = f"{what}; free space there or set TMPDIR"
        raise DeviceFailure(Fault.STORAGE_FULL, Stage.INITIALIZE, reason) from error
