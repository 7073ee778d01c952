"""The report has nn-dataset's fields, matches its JSON Schema, and rejects invalid values."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError

from make_schema import json_schema, schema_text
from nnlite.host.cores import choose_cores
from nnlite.reports.schema import (
    SCHEMA_FILE,
    BenchmarkReport,
    Delegation,
    DeviceState,
    Disturbance,
    Energy,
    RunReport,
    ThermalSeries,
    is_published,
)
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import (
    TELLING_LATENCY,
    Backend,
    DeviceKind,
    Mode,
    Precision,
    Reason,
    Shape,
    Stage,
    Verdict,
)
from nnlite_benchmark.device import BenchmarkJob, InputSpec
from nnlite_benchmark.host.context import host_context, host_state
from nnlite_benchmark.protocol import measuring
from nnlite_benchmark.protocol.analysis.measurement import Run, measurement_report

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DELEGATION = Delegation(
    delegate="TfLiteXNNPackDelegate", delegated_nodes=3, total_nodes=3, partitions=1, counted_from="log"
)
ENERGY = Energy(packages=1, seconds=1, power_w=10, energy_uj=10_000, energy_low_uj=None, energy_high_uj=None)
RUN = RunReport(
    runtime="LiteRT", runtime_version="2.3.0", threads=1, stage=Stage.RUN, init_ns=5, delegation=DELEGATION,
    energy=ENERGY,
)  # fmt: skip


def measurement(
    tmp_path, backend=Backend.CPU, *, parity=True, median_ns=1_000_000, error=None, mode=Mode.STANDARD
):
    expected = tmp_path / "expected.raw"
    expected.write_bytes(np.array([1, 2], "<f4").tobytes())
    job = BenchmarkJob(
        artifact=tmp_path / "model.tflite",
        artifact_sha256="a" * 64,
        model_name="ResNet",
        precision=Precision.FP32,
        inputs=(InputSpec(name="x", shape=(1, 2), dtype="float32"),),
        seed=0,
        expected_outputs=(expected,),
        mode=mode,
    )
    outputs = () if error else (np.array([1, 2 if parity else 3], np.float32),)
    samples = np.empty(0, np.int64) if error else np.full(100, median_ns)
    window = Disturbance(window_ns=100 * median_ns, cores=1)
    timed = {
        "first_inference_ns": 3_000_000,
        "warmup_ns": 50_000_000,
        "run_ns": 100 * median_ns,
        "disturbance": window,
        "slice_cores": {"4": 9},
        "thermal": ThermalSeries(at_ns=(0,), status=(0,), headroom=(0.5,)),
    }
    report = RUN.model_copy(update={"error": error, **timed})
    before = DeviceState(at=NOW, available_ram_kb=77, cached_kb=33)
    run = Run(report=report, samples_ns=samples, outputs=outputs, started_at=NOW, before=before)
    return measurement_report(job, backend, run, MeasurementSettings())


def benchmark_report(*measurements):
    device = host_context("host-a", "host", choose_cores())
    return BenchmarkReport.of(
        model_name="ResNet", artifact_sha256="a" * 64, device=device, measurements=measurements
    )


def test_the_committed_schema_is_the_one_of_the_code():
    assert SCHEMA_FILE.read_text() == schema_text(), "run: make schema"


def test_a_report_fits_its_json_schema_and_comes_back_the_same(tmp_path):
    report = benchmark_report(measurement(tmp_path))
    text = report.model_dump_json()

    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(text))
    assert BenchmarkReport.model_validate_json(text) == report


def test_nn_datasets_report_is_a_subset(tmp_path):
    report = json.loads(benchmark_report(measurement(tmp_path)).model_dump_json())

    assert report["model_name"] == "ResNet"
    assert report["valid"] is True
    assert report["emulator"] is False
    assert report["duration"] == 1_000_000
    assert {"device_type", "os_version"} <= report.keys()
    analytics = report["device_analytics"]
    assert analytics["memory"]["total_ram"] > 0
    assert (analytics["memory"]["available_ram"], analytics["memory"]["cached"]) == (77, 33)
    assert {"architecture", "cores", "vendor", "features"} <= analytics["cpu"].keys()


def test_the_duration_is_that_of_the_first_published_backend(tmp_path):
    cpu = measurement(tmp_path, Backend.CPU, parity=False)
    gpu = measurement(tmp_path, Backend.GPU, median_ns=2_000_000)

    assert benchmark_report(gpu, cpu).duration == 2_000_000
    assert benchmark_report(gpu, measurement(tmp_path)).duration == 1_000_000


def test_a_measurement_is_judged_by_the_bounds_of_its_mode(tmp_path):
    full, quick = (measurement(tmp_path, mode=mode) for mode in (Mode.FULL, Mode.QUICK))

    assert (full.mode, full.reasons, full.bounds["min_runs"]) == (Mode.FULL, (Reason.FEW_RUNS,), 1024)
    assert (quick.mode, quick.reasons, quick.bounds["min_runs"]) == (Mode.QUICK, (), 64)


def test_the_duration_is_that_with_the_fewest_threads(tmp_path):
    four, one = (
        measurement(tmp_path, median_ns=median_ns).model_copy(update={"threads": threads})
        for threads, median_ns in ((4, 400_000), (1, 1_000_000))
    )

    assert benchmark_report(four, one).duration == 1_000_000


def test_settings_in_force_have_the_threads_of_the_job_or_the_workers(tmp_path):
    settings = MeasurementSettings(threads=2)

    assert measuring.CANARY_JOB.in_force(settings).threads == 2
    assert replace(measuring.CANARY_JOB, threads=4).in_force(settings).threads == 4


def test_a_device_measures_on_its_cores_or_on_those_it_is_pinned_to():
    device = host_context("host-a", "host", choose_cores(available=range(8)))
    assert device.usable_cores == min(device.cpu.cores, len(device.measuring_cores))
    assert device.model_copy(update={"measuring_cores": ()}).usable_cores == device.cpu.cores


@pytest.mark.parametrize(
    ("asked", "bound", "why"),
    [
        ((4, 5), (4, 5), None),
        ((4, 7), (4,), "of the cores (4, 7) the process may not use [7]"),
        ((4, 5), (), None),
        ((), (0, 1), None),
    ],
)
def test_a_thread_that_is_bound_to_some_of_the_cores_only_says_so(tmp_path, asked, bound, why):
    job = BenchmarkJob(
        artifact=tmp_path, artifact_sha256="a" * 64, model_name="ResNet", precision=Precision.FP32, inputs=(),
        seed=0, cores=asked,
    )  # fmt: skip
    report = RUN.model_copy(update={"cores": bound})
    run = Run(report=report, samples_ns=np.full(100, 1_000_000), outputs=(), started_at=NOW)
    assert measurement_report(job, Backend.CPU, run, MeasurementSettings()).cores_error == why


def test_a_measurement_has_its_shape_unless_it_is_withheld(tmp_path):
    assert measurement(tmp_path).shape is Shape.STEADY
    assert measurement(tmp_path, parity=False).shape is None


def test_failed_parity_gives_no_latency(tmp_path):
    report = measurement(tmp_path, parity=False)

    assert (report.verdict, report.reasons) == (Verdict.INVALID, (Reason.PARITY,))
    assert (report.latency, report.samples_ns, report.energy) == (None, (), None)
    assert measurement(tmp_path).energy == ENERGY
    assert {getattr(report, name) for name in TELLING_LATENCY} == {None}
    assert all(getattr(measurement(tmp_path), name) for name in TELLING_LATENCY)
    assert report.runs == 100
    assert not is_published(report)
    assert (benchmark_report(report).duration, benchmark_report(report).valid) == (None, False)


def test_a_rejected_artifact_is_a_measurement_with_an_error_and_no_latency(tmp_path):
    report = measurement(tmp_path, error="unsupported op FOO")

    assert (report.verdict, report.reasons) == (Verdict.INVALID, (Reason.RUNTIME,))
    assert (report.error, report.latency, report.parity) == ("unsupported op FOO", None, None)


def test_a_report_has_the_settings_in_effect(tmp_path):
    assert measurement(tmp_path).bounds == MeasurementSettings().model_dump()


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"schema_version": 2},
        {"init_ns": -1},
        {"init_ns": 2**63},
        {"threads": "1"},
        {"stage": "lunch"},
        {"error": "x" * 20_001},
        {"cores": [0] * 5000},
        {"outputs": [{}]},
    ],
)
def test_an_invalid_run_report_is_rejected(change):
    fields = json.loads(RUN.model_dump_json()) | change

    with pytest.raises(ValidationError):
        RunReport.model_validate_json(json.dumps(fields))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_non_finite_numbers_are_rejected(number):
    state = DeviceState(at=NOW, load_1m=0.25).model_dump_json().replace("0.25", number)

    with pytest.raises(ValidationError):
        DeviceState.model_validate_json(state)


def test_a_host_context_does_not_look_like_android():
    context = host_context("host-a", "host", choose_cores())

    assert context.kind is DeviceKind.HOST
    assert context.device_type.startswith("host ")
    words = f"{context.device_type} {context.os_version}".lower()
    assert not any(word in words for word in ("android", "sdk_", "gphone", "emulator", "pixel", "api"))
    assert (context.api_level, context.abi, context.build_fingerprint) == (None, None, None)


def test_the_host_state_has_memory_load_and_processor():
    cores = choose_cores()
    context, state = host_context("host-a", "host", cores), host_state(cores.measuring)

    assert context.total_ram_kb > (state.available_ram_kb or 0) > 0
    assert context.cpu.cores >= 1
    assert state.at.tzinfo is not None
