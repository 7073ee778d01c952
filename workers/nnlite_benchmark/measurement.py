"""From what a run showed to a measurement: statistics, device parity, verdict.

The same for every device, so that a host's number and a phone's mean the same.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnlite.inputs import from_raw_bytes
from nnlite.results.report import (
    MAX_SAMPLES,
    Canary,
    DeviceState,
    MeasurementReport,
    Parity,
    Quiet,
    RunReport,
)
from nnlite.settings import MeasurementSettings
from nnlite.vocabulary import Backend
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.parity import SHAPE_RULE, Tensor, device_parity
from nnlite_benchmark.statistics import Samples, decode_samples, summarize, thin
from nnlite_benchmark.verdict import Evidence, judge

#: Samples of one run that are read at most: a minute of inferences of 2 microseconds.
MAX_RUN_SAMPLES = 32_000_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came back from one measuring process, validated."""

    report: RunReport
    #: Every timed run, nanoseconds, in order of time.
    samples_ns: Samples
    #: In the order of `report.outputs`.
    outputs: tuple[Tensor, ...]
    started_at: datetime
    before: DeviceState | None = None
    after: DeviceState | None = None


def read_run(
    report: RunReport,
    folder: Path,
    *,
    started_at: datetime,
    before: DeviceState | None = None,
    after: DeviceState | None = None,
) -> Run:
    """Read the samples and the output files of a run report.

    Args:
        report: as the measuring process wrote it, validated.
        folder: where the output files lie; they are read into memory.

    Raises:
        ValueError: samples or outputs that do not fit the report.
    """
    outputs = []
    for output in report.outputs:
        if Path(output.file).name != output.file:
            raise ValueError(f"output file {output.file!r} is no plain name")
        raw = (folder / output.file).read_bytes()
        outputs.append(from_raw_bytes(raw, output.shape, output.dtype))
    return Run(
        report=report,
        samples_ns=decode_samples(report.samples, max_samples=MAX_RUN_SAMPLES),
        outputs=tuple(outputs),
        started_at=started_at,
        before=before,
        after=after,
    )


def measurement_report(
    job: BenchmarkJob,
    backend: Backend,
    run: Run,
    settings: MeasurementSettings,
    *,
    canary: Canary | None = None,
    quiet: Quiet | None = None,
) -> MeasurementReport:
    """Return the measurement of one backend with its verdict; a refused artifact has no duration."""
    parity = _parity(job, backend, run)
    latency = summarize(run.samples_ns, min_runs=settings.min_runs) if run.samples_ns.size else None
    verdict, reasons = judge(
        Evidence(
            runs=int(run.samples_ns.size),
            refused=run.report.error is not None,
            parity_ok=parity.ok if parity else None,
            artifact_parity_ok=job.artifact_parity_ok,
            mad_ratio=latency.mad_ratio if latency else None,
            slice_drift=latency.slice_drift if latency else None,
            canary_drift=canary.drift if canary else None,
            quiet=quiet.quiet if quiet else True,
            delegated_nodes=run.report.delegation.delegated_nodes if run.report.delegation else None,
            total_nodes=run.report.delegation.total_nodes if run.report.delegation else None,
        ),
        settings,
    )
    # A device that computes something else gives no latency, nor samples to make one from.
    kept = run.samples_ns[:0] if parity and not parity.ok else run.samples_ns
    samples = thin(kept, min(settings.max_samples, MAX_SAMPLES), job.seed)
    copied = run.report.model_dump(
        exclude={"schema_version", "samples", "samples_complete", "outputs", "delegation"}
    )
    return MeasurementReport(
        **copied,
        backend=backend,
        precision=job.precision,
        verdict=verdict,
        reasons=reasons,
        started_at=run.started_at,
        runs=int(run.samples_ns.size),
        latency=latency if kept.size else None,
        samples_ns=tuple(samples.tolist()),
        samples_kept="all" if samples.size == kept.size and run.report.samples_complete else "uniform",
        samples_seed=job.seed,
        delegation=run.report.delegation,
        canary=canary,
        parity=parity,
        quiet=quiet,
        before=run.before,
        after=run.after,
        bounds=settings.model_dump(),
    )


def _parity(job: BenchmarkJob, backend: Backend, run: Run) -> Parity | None:
    if job.expected_outputs is None or run.report.error is not None:
        return None
    if len(job.expected_outputs) != len(run.outputs):
        return Parity(ok=False, rule=SHAPE_RULE, worst=None, limit=0.0)
    expected = []
    for path, got in zip(job.expected_outputs, run.outputs, strict=True):
        try:
            expected.append(from_raw_bytes(path.read_bytes(), got.shape, got.dtype.name))
        except ValueError:
            return Parity(ok=False, rule=SHAPE_RULE, worst=None, limit=0.0)
    return device_parity(expected, list(run.outputs), job.precision, backend)
