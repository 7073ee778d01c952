"""Builds a measurement report from a run: statistics, device parity, verdict.

The same for every device, so that the numbers of hosts and phones are comparable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnlite.artifacts.inputs import from_raw_bytes
from nnlite.backends import CPU_BACKENDS
from nnlite.reports.schema import (
    MAX_SAMPLES,
    Canary,
    DeviceState,
    Latency,
    MeasurementReport,
    Parity,
    Quiet,
    RunReport,
)
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import TELLING_LATENCY, Backend, Reason, Refusal
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.protocol.analysis.counted import Counted, counted_runs, of_kept
from nnlite_benchmark.protocol.analysis.judgement import judged_report
from nnlite_benchmark.protocol.analysis.parity import Tensor, parity_with_files
from nnlite_benchmark.protocol.analysis.shape import shape_of
from nnlite_benchmark.protocol.analysis.statistics import (
    Samples,
    decode_samples,
    inflate_samples,
    summarize,
    thinned,
)
from nnlite_benchmark.protocol.gating import Gate
from nnlite_benchmark.protocol.outputs import measured_outputs

#: Limit of samples per run: a minute of inferences of 2 microseconds.
MAX_RUN_SAMPLES = 32_000_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """The validated results of one measuring process."""

    report: RunReport
    #: Every timed run, nanoseconds, in chronological order.
    samples_ns: Samples
    #: In the order of `report.outputs`.
    outputs: tuple[Tensor, ...]
    started_at: datetime
    before: DeviceState | None = None
    after: DeviceState | None = None
    #: What decided which runs count; None: all do.
    gate: Gate | None = None


def read_run(
    report: RunReport,
    folder: Path,
    *,
    started_at: datetime,
    before: DeviceState | None = None,
    after: DeviceState | None = None,
    gate: Gate | None = None,
) -> Run:
    """Read the samples and the output files of a run report.

    Args:
        report: of the measuring process, validated.
        folder: of the output files, which are read into memory.
        started_at: start of the run.
        before: state of the device before the run.
        after: state of the device after the run.
        gate: of the run.

    Raises:
        ValueError: samples or outputs do not match the report.
    """
    outputs = []
    for output in report.outputs:
        raw = (folder / plain_name(output.file)).read_bytes()
        outputs.append(from_raw_bytes(raw, output.shape, output.dtype))
    return Run(
        report=report,
        samples_ns=_samples(report, folder),
        outputs=tuple(outputs),
        started_at=started_at,
        before=before,
        after=after,
        gate=gate,
    )


def plain_name(file: str) -> str:
    """Return `file` if it is a file name without a folder.

    Raises:
        ValueError: it is not.
    """
    if Path(file).name != file or not file:
        raise ValueError(f"file {file!r} is no plain name")
    return file


def measurement_report(
    job: BenchmarkJob,
    backend: Backend,
    run: Run,
    settings: MeasurementSettings,
    *,
    canary: Canary | None = None,
    quiet: Quiet | None = None,
) -> MeasurementReport:
    """Return the measurement of one backend with its verdict; a rejected artifact has no latency."""
    report, settings = run.report, job.in_force(settings)
    parity = None if report.error is not None else parity_with_host(job, backend, run.outputs)
    counted = _counted(run, settings)
    judged = counted.samples_ns if counted else run.samples_ns
    latency = _latency(run, judged)
    runs = run.samples_ns.size if report.samples_complete or report.runs is None else report.runs
    before, after = _state(run.before, report.before), _state(run.after, report.after)
    judgement = judged_report(
        report,
        settings,
        runs=int(runs),
        counted=counted,
        latency=latency,
        parity=parity,
        artifact_parity=job.artifact_parity,
        canary=canary,
        quiet=quiet,
        states=(before, after),
        not_delegated=_is_not_delegated(backend, report),
        too_few_cores=report.refusal is Refusal.TOO_FEW_CORES,
    )
    # Not the backend's own number: publish neither a latency nor samples or an energy to compute one from.
    withheld = bool({Reason.PARITY, Reason.NOT_DELEGATED} & set(judgement.reasons))
    samples = run.samples_ns[:0] if withheld else run.samples_ns
    kept = thinned(samples.size, min(settings.max_samples, MAX_SAMPLES), job.seed)
    copied = {name: getattr(report, name) for name in _COPIED} | {"cores_error": _cores_error(job, report)}
    if withheld:
        copied |= dict.fromkeys(TELLING_LATENCY)
    return MeasurementReport(
        **copied,
        backend=backend,
        precision=job.precision,
        mode=job.mode,
        asked_cores=job.asked_cores or None,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        noise_cause=judgement.noise_cause,
        shape=shape_of(judged, settings.shape_tolerance) if samples.size else None,
        started_at=run.started_at,
        runs=int(runs),
        latency=latency if samples.size else None,
        energy=None if withheld else report.energy,
        gating=of_kept(counted.gating, kept) if counted and samples.size else None,
        samples_ns=tuple(samples[kept].tolist()),
        samples_kept="all" if kept.size == samples.size and report.samples_complete else "uniform",
        samples_seed=job.seed,
        canary=canary,
        parity=parity,
        outputs=measured_outputs(run.outputs, settings.max_output_mb),
        artifact_parity=job.artifact_parity,
        quiet=quiet,
        before=before,
        after=after,
        bounds=settings.model_dump(),
    )


#: Fields that a measurement copies from the run report.
_COPIED = sorted(
    MeasurementReport.model_fields.keys()
    & RunReport.model_fields.keys()
    - {"schema_version", "runs", "latency", "energy", "before", "after", "outputs"}
)


def _cores_error(job: BenchmarkJob, report: RunReport) -> str | None:
    """Return why the measuring thread was not bound to the job's cores; None: it was, or none were asked for.

    Linux binds to those of them that the process may use, without an error: Android keeps some for others.
    """
    if report.cores_error is not None or not job.cores or not report.cores:
        return report.cores_error
    missing = [core for core in job.cores if core not in report.cores]
    return f"of the cores {job.cores} the process may not use {missing}" if missing else None


def _samples(report: RunReport, folder: Path) -> Samples:
    if report.samples_file is None:
        return decode_samples(report.samples, max_samples=MAX_RUN_SAMPLES)
    raw = (folder / plain_name(report.samples_file.file)).read_bytes()
    return inflate_samples(raw, max_samples=MAX_RUN_SAMPLES)


def _counted(run: Run, settings: MeasurementSettings) -> Counted | None:
    """Return the runs that counted; None: the run was not gated, and all did."""
    if run.gate is None or run.report.slices is None or not run.samples_ns.size:
        return None
    return counted_runs(run.samples_ns, run.report.slices, run.gate, settings)


def _latency(run: Run, judged: Samples) -> Latency | None:
    if not run.samples_ns.size:
        return None
    if not run.report.samples_complete and run.report.latency is not None:
        return run.report.latency
    return summarize(judged)


def _is_not_delegated(backend: Backend, report: RunReport) -> bool:
    """Return whether the backend's delegate took no node; on the CPU that is allowed."""
    if backend in CPU_BACKENDS:
        return False
    if report.error is not None:
        return report.refusal is Refusal.NOT_DELEGATED
    return report.delegation is None or report.delegation.delegated_nodes == 0


def _state(by_host: DeviceState | None, by_app: DeviceState | None) -> DeviceState | None:
    """Return the state as the host read it, with missing values taken from the app's."""
    if by_host is None or by_app is None:
        return by_host or by_app
    missing = {name for name in DeviceState.model_fields if getattr(by_host, name) in (None, (), {})}
    return by_host.model_copy(update={name: getattr(by_app, name) for name in missing})


def parity_with_host(job: BenchmarkJob, backend: Backend, outputs: Sequence[Tensor]) -> Parity | None:
    """Compare outputs with the host's; None: the job has no expected outputs."""
    if job.expected_outputs is None:
        return None
    return parity_with_files(job.expected_outputs, outputs, job.precision, backend, job.output_steps)
