"""A stored measurement is derived again: what was changed afterwards differs, nothing else."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from nnlite.reports.schema import Canary, DeviceState, Latency, MeasurementReport, Quiet, RunReport, Slices
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Mode, Precision, QuietMode, Reason, Refusal, Shape, Stage, Verdict
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.protocol.analysis.derivation import NO_OUTPUTS, THINNED, WITHHELD, OutputFiles, derive
from nnlite_benchmark.protocol.analysis.measurement import Run, measurement_report
from nnlite_benchmark.protocol.gating import Gate

SETTINGS = MeasurementSettings()
JOB = BenchmarkJob(
    artifact=Path("model.tflite"),
    artifact_sha256="a" * 64,
    model_name="ResNet",
    precision=Precision.FP32,
    inputs=(),
    seed=0,
    mode=Mode.QUICK,
)
RUN = RunReport(runtime="LiteRT", runtime_version="2.3.0", threads=1, stage=Stage.RUN)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SAMPLES = 1_000_000 + np.random.default_rng(5).integers(0, 30_000, 700)


def measured(
    samples=SAMPLES,
    *,
    settings=SETTINGS,
    job=JOB,
    backend=Backend.CPU,
    state=None,
    outputs_of_run=(),
    **changes,
):
    report = RUN.model_copy(update={name: value for name, value in changes.items() if name != "gate"})
    run = Run(
        report=report,
        samples_ns=np.array(samples, np.int64),
        outputs=outputs_of_run,
        started_at=NOW,
        before=state,
        gate=changes.get("gate"),
    )
    return measurement_report(
        job,
        backend,
        run,
        settings,
        canary=Canary(before_p25_ns=100, after_p25_ns=105, drift=0.05, repeated=False),
        quiet=Quiet(mode=QuietMode.PINNED_CORES, quiet=True, waited_ns=0),
    )


def gated(samples, canaries, settings=SETTINGS):
    number = len(canaries) - 1
    slices = Slices(
        canaries_ns=tuple(canaries),
        slice_runs=(len(samples) // number,) * number,
        slice_first_ns=(),
        learning_ns=(99, 100, 100),
    )
    gate = Gate.of(settings, 100)
    return measured(samples, settings=settings.model_copy(update={"gated": True}), slices=slices, gate=gate)


def stored(report):
    """As it comes back from JSON."""
    return MeasurementReport.model_validate_json(report.model_dump_json())


REPORTS = {
    "valid": measured(),
    "slow": measured([9, 9, 9], settings=MeasurementSettings(few_runs=5)),
    "few": measured([9] * 7),
    "noisy": measured([10, 20] * 300),
    "throttled": measured(state=DeviceState(at=NOW, thermal_status=3)),
    "refused": measured([], error="no such operator"),
    "too few cores": measured([], error="4 threads, 2 cores", refusal=Refusal.TOO_FEW_CORES),
    "npu without delegate": measured(backend=Backend.NPU),
    "gated": gated(SAMPLES, [100] * 6 + [160] * 5),
    "shared core": gated([10] * 100, [100] * 3 + [160] * 8),
    "thinned": measured(settings=MeasurementSettings(max_samples=100)),
    "gated and thinned": gated(SAMPLES, [100] * 6 + [160] * 5, MeasurementSettings(max_samples=100)),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_measurement_is_derived_as_it_was_stored(name):
    derivation = derive(stored(REPORTS[name]))
    assert derivation.differences == ()
    expected = {"refused": WITHHELD, "too few cores": WITHHELD, "npu without delegate": WITHHELD}
    expected |= {"thinned": THINNED, "gated and thinned": THINNED}
    assert derivation.notes == ((expected[name],) if name in expected else ())


def test_the_reports_are_of_every_kind():
    verdicts = {name: (report.verdict, report.reasons) for name, report in REPORTS.items()}
    assert verdicts == {
        "valid": (Verdict.VALID, ()),
        "slow": (Verdict.INVALID, (Reason.TOO_SLOW,)),
        "few": (Verdict.VALID, (Reason.FEW_RUNS,)),
        "noisy": (Verdict.NOISY, (Reason.SPREAD,)),
        "throttled": (Verdict.THROTTLED, (Reason.THERMAL,)),
        "refused": (Verdict.INVALID, (Reason.RUNTIME,)),
        "too few cores": (Verdict.INVALID, (Reason.TOO_FEW_CORES,)),
        "npu without delegate": (Verdict.INVALID, (Reason.NOT_DELEGATED,)),
        "gated": (Verdict.VALID, ()),
        "shared core": (Verdict.NOISY, (Reason.SHARED_CORE,)),
        "thinned": (Verdict.VALID, ()),
        "gated and thinned": (Verdict.VALID, ()),
    }


def changed(report, **changes):
    return derive(stored(report.model_copy(update=changes))).differences


def fields(found):
    return [difference.field for difference in found]


def test_a_changed_statistic_is_named_with_its_right_value():
    latency = REPORTS["valid"].latency
    (found,) = changed(REPORTS["valid"], latency=latency.model_copy(update={"median_ns": 900_000}))
    assert (found.field, found.stored, found.derived) == ("latency.median_ns", 900_000, latency.median_ns)


def test_a_changed_sample_changes_what_follows_from_it():
    samples = (REPORTS["valid"].samples_ns[0] * 50, *REPORTS["valid"].samples_ns[1:])
    found = fields(changed(REPORTS["valid"], samples_ns=samples))
    assert {"latency.mean_ns", "latency.max_ns", "latency.cv"} <= set(found)
    assert "runs" in fields(changed(REPORTS["valid"], samples_ns=REPORTS["valid"].samples_ns[1:]))


def test_a_better_verdict_is_found():
    found = changed(REPORTS["noisy"], verdict=Verdict.VALID, reasons=(), noise_cause=None)
    assert fields(found) == ["verdict", "reasons", "noise_cause"]
    assert found[0].derived == "noisy"
    assert fields(changed(REPORTS["npu without delegate"], verdict=Verdict.VALID, reasons=())) == [
        "verdict", "reasons",
    ]  # fmt: skip


def test_a_changed_setting_gives_another_verdict():
    bounds = REPORTS["noisy"].bounds | {"max_mad_ratio": 0.9}
    assert fields(changed(REPORTS["noisy"], bounds=bounds)) == ["verdict", "reasons", "noise_cause"]


def test_a_changed_shape_canary_and_gate_are_found():
    assert fields(changed(REPORTS["valid"], shape=Shape.WARMING)) == ["shape"]
    canary = REPORTS["valid"].canary.model_copy(update={"after_p25_ns": 100})
    assert fields(changed(REPORTS["valid"], canary=canary)) == ["canary.drift"]
    gating = REPORTS["shared core"].gating.model_copy(update={"slow_share": 0.1})
    assert fields(changed(REPORTS["shared core"], gating=gating)) == ["gating.slow_share"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("median_ns", 1_002_000), ("p90_ns", 1_012_000), ("min_ns", 1_010_000), ("max_ns", 9)],
)
def test_a_contradiction_to_the_samples_that_were_kept_is_found(field, value):
    latency = REPORTS["thinned"].latency.model_copy(update={field: value})
    assert fields(changed(REPORTS["thinned"], latency=latency))[0] == f"latency.{field}"


def test_statistics_of_a_device_that_thinned_by_itself_are_searched_too():
    own = Latency(**REPORTS["valid"].latency.model_dump())
    report = measured(SAMPLES[::7], samples_complete=False, runs=700, latency=own)
    assert derive(stored(report)).differences == ()
    assert "runs" in fields(changed(report, runs=90))


def test_parity_is_derived_from_the_outputs_that_are_stored(tmp_path):
    expected, output = tmp_path / "expected", tmp_path / "output"
    expected.write_bytes(np.array([1, 2], "<f4").tobytes())
    output.write_bytes(np.array([1, 3], "<f4").tobytes())
    wrong = np.array([1, 3], np.float32)
    report = measured(job=replace(JOB, expected_outputs=(expected,)), outputs_of_run=(wrong,))
    assert (report.verdict, report.parity.worst) == (Verdict.INVALID, 1)
    assert report.outputs[0].sha256 == hashlib.sha256(output.read_bytes()).hexdigest()

    files = OutputFiles(expected=(expected,), outputs=(output,))
    assert derive(stored(report), files).differences == ()
    lenient = report.parity.model_copy(update={"worst": 0.0, "ok": True})
    changed_report = report.model_copy(update={"parity": lenient, "verdict": Verdict.VALID, "reasons": ()})
    assert fields(derive(stored(changed_report), files).differences) == [
        "verdict", "reasons", "parity.ok", "parity.worst",
    ]  # fmt: skip
    without = derive(stored(report), replace(files, outputs=(None,)))
    assert (without.differences, without.notes) == ((), (NO_OUTPUTS, WITHHELD))


def test_slices_that_do_not_match_the_samples_are_an_error():
    gating = REPORTS["gated"].gating.model_copy(update={"slice_runs": (1,)})
    with pytest.raises(ValueError, match="runs in slices"):
        derive(stored(REPORTS["gated"].model_copy(update={"gating": gating})))
