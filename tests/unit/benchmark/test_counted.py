"""A gated measurement: statistics, verdict and cause are those of the runs that counted."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from nnlite.reports.schema import RunReport, Slices
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Precision, Reason, Stage, Verdict
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.protocol.analysis.measurement import Run, measurement_report
from nnlite_benchmark.protocol.gating import Gate

SETTINGS = MeasurementSettings()
GATE = Gate.of(SETTINGS, 100)
JOB = BenchmarkJob(
    artifact=Path("model.tflite"),
    artifact_sha256="a" * 64,
    model_name="ResNet",
    precision=Precision.FP32,
    inputs=(),
    seed=0,
)


def report(canaries, samples, settings=SETTINGS, **changes):
    """Measure with ten samples between any two canaries."""
    fields = {
        "canaries_ns": tuple(canaries),
        "slice_runs": (10,) * (len(canaries) - 1),
        "slice_first_ns": (5000,) * (len(canaries) - 1),
    }
    ran = RunReport(
        runtime="LiteRT",
        runtime_version="2.3.0",
        threads=1,
        stage=Stage.RUN,
        slices=Slices(**(fields | changes)),
    )
    run = Run(
        report=ran,
        samples_ns=np.repeat(samples, 10),
        outputs=(),
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        gate=GATE,
    )
    return measurement_report(JOB, Backend.CPU, run, settings)


def test_statistics_are_of_the_runs_that_counted():
    measured = report([100] * 6 + [160] * 4, [1000] * 5 + [1600] * 4)

    assert (measured.verdict, measured.reasons) == (Verdict.VALID, ())
    assert (measured.latency.median_ns, measured.latency.max_ns) == (1000, 1000)
    assert (measured.runs, len(measured.samples_ns)) == (90, 90)
    gating = measured.gating
    assert (gating.counted_runs, gating.fast_ns, gating.enough) == (50, 100, True)
    assert (gating.all_median_ns, gating.all_min_ns) == (1000, 1000)
    assert gating.counted_share == pytest.approx(50_000 / 114_000)
    assert (gating.slow_share, gating.slow_ratio) == (0.4, 1.6)


def test_too_few_that_counted_are_noisy_with_the_cause():
    measured = report([100] * 3 + [160] * 10, [1000] * 2 + [1600] * 10)

    assert (measured.verdict, measured.reasons) == (Verdict.NOISY, (Reason.DRIFT, Reason.SHARED_CORE))
    assert measured.noise_cause == "shared core: 77 % of the time 1.6 times slower"
    assert (measured.latency.median_ns, measured.gating.enough) == (1600, False)


def test_few_that_counted_are_few_runs():
    measured = report([100] * 4 + [160] * 4, [1000] * 3 + [1600] * 4)

    assert (measured.verdict, measured.reasons) == (Verdict.VALID, (Reason.FEW_RUNS,))
    assert measured.noise_cause is None


def test_samples_that_are_thinned_out_are_missing_in_their_slices():
    measured = report([100] * 11, range(1000, 1010), MeasurementSettings(max_samples=37))

    assert sum(measured.gating.slice_runs) == len(measured.samples_ns) == 37
    of_slices = np.repeat(range(1000, 1010), measured.gating.slice_runs)
    assert of_slices.tolist() == list(measured.samples_ns)


@pytest.mark.parametrize(
    "changes",
    [
        {"slice_runs": (10, 9)},
        {"slice_runs": (20, 0)},
        {"slice_runs": ()},
        {"canaries_ns": (100, 100)},
        {"slice_first_ns": (5000,)},
    ],
)
def test_slices_that_do_not_match_the_samples_are_an_error(changes):
    with pytest.raises(ValueError, match=r"slices|samples"):
        report([100] * 3, [1000] * 2, **changes)
