"""The app's own instrumentation and activity on real framework Java, with the APK's own TensorFlow Lite.

Read by the host's own parser. NNLITE_ANDROID_LEVELS has the API levels: 30; `make test-android-all` sets all.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app_host import AppHost
from nnlite.artifacts.inputs import write_inputs
from nnlite.reports.schema import RunReport
from nnlite.vocabulary import Refusal, Stage
from nnlite_benchmark.android.app.chunks import Chunk
from nnlite_benchmark.android.app.instrumentation import (
    AppError,
    InstrumentationParser,
    Reported,
    StageEntered,
    WindowMissing,
)
from nnlite_benchmark.protocol import canary
from nnlite_benchmark.protocol.analysis.statistics import decode_samples, summarize
from nnlite_benchmark.protocol.measuring import CANARY_JOB

RUNS = 12
QUICK = {"warmup_min_runs": 1, "warmup_min_s": 0, "warmup_agreeing_runs": 0, "min_runs": RUNS, "min_s": 0}
#: The canary has as many operators.
OPERATORS = 26
Run = Callable[..., tuple[list[object], object]]


LEVELS = [int(level) for level in os.environ.get("NNLITE_ANDROID_LEVELS", "30").split()]


@pytest.fixture(scope="module", params=LEVELS, ids=lambda level: f"api{level}")
def android(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppHost]:
    """A warm process with the framework of one API level."""
    with AppHost(request.param, tmp_path_factory.mktemp("android")) as host:
        yield host


@pytest.fixture
def run(android: AppHost, tmp_path: Path) -> Run:
    """Run the app as the host does: `run("cpu", focus="lost")`."""
    canary_input = np.zeros(8 * 8 * 12, "<f4")
    (tmp_path / "input.raw").write_bytes(canary_input.tobytes())

    def start(backend: str, *, arguments=(), logcat: bool = True, **device):
        asked = {
            "run": "1a",
            "model": canary.MODEL_FILE,
            "inputs": tmp_path / "input.raw",
            "backend": backend,
        }
        texts = {name: str(value) for name, value in (asked | QUICK | dict(arguments)).items()}
        android.logcat(works=logcat)
        parser = InstrumentationParser()
        events = parser.feed(android.run({"arguments": texts} | device))
        left, ending = parser.finish()
        return [*events, *left], ending

    return start


def report_of(ending: object) -> RunReport:
    assert isinstance(ending, Reported), ending
    return ending.report


def stages(events: list[object]) -> list[Stage]:
    return [event.stage for event in events if isinstance(event, StageEntered)]


def test_a_whole_run_is_stages_files_and_a_report(run: Run, android: AppHost):
    events, ending = run("cpu", thermal_status=1)

    report = report_of(ending)
    assert report.error is None
    assert stages(events) == [Stage.INITIALIZE, Stage.WARM_UP, Stage.RUN]
    assert (report.runtime, report.runtime_version) == ("TFLite", "2.16.1")
    assert (report.delegation.delegate, report.delegation.counted_from) == ("TfLiteXNNPackDelegate", "log")
    assert (report.delegation.delegated_nodes, report.delegation.total_nodes) == (OPERATORS, OPERATORS)
    assert report.in_front is True
    assert (report.after.battery_percent, report.after.charging) == (86.0, True)
    assert report.after.temperatures_c == {"battery": 31.5}
    assert report.after.thermal_status == (1 if android.level >= 29 else None)
    assert report.peak_rss_kb > 1000
    samples = decode_samples(report.samples, max_samples=1000)
    assert report.runs == len(samples) == RUNS
    assert report.latency.model_dump(exclude_none=True) == pytest.approx(
        summarize(samples).model_dump(exclude_none=True), rel=1e-6
    )


def test_the_thermal_status_is_followed_and_the_headroom_asked_once_a_second(run: Run, android: AppHost):
    slow = {"min_runs": 1, "min_s": 2.5}
    report = report_of(run("cpu", thermal_status_during=2, headroom=0.5, arguments=slow)[1])

    if android.level < 29:
        assert report.thermal is None
        return
    assert (report.thermal.status[0], max(report.thermal.status)) == (0, 2)
    assert set(map(int, report.slice_cores)) <= set(report.cores)
    # As many slices of 40 ms as there is time for.
    assert 1 <= sum(report.slice_cores.values()) <= report.run_ns / 40e6
    told = [headroom for headroom in report.thermal.headroom if headroom is not None]
    if android.level < 30:
        assert told == []
        return
    assert told and set(told) == {0.5}
    seconds = (report.warmup_ns + report.run_ns) / 1e9
    assert len(told) <= seconds + 1
    assert list(report.thermal.at_ns) == sorted(report.thermal.at_ns)


@pytest.mark.parametrize("warm", [{"thermal_status": 1}, {"headroom": 0.8}])
def test_a_run_on_a_warm_device_waits_but_not_for_ever(run: Run, android: AppHost, warm):
    wait_s = 1.0
    report = report_of(run("cpu", arguments={"cool_s": wait_s, "max_headroom": 0.7}, **warm)[1])

    tells = android.level >= (30 if "headroom" in warm else 29)
    assert (report.cooled_ns >= wait_s * 1e9) is tells
    assert report.error is None, "it is measured, and its verdict says the rest"
    cool = report_of(run("cpu", arguments={"cool_s": 3600}, headroom=0.3)[1])
    assert cool.error is None


def test_the_battery_saver_and_sustained_performance_are_in_the_report(run: Run):
    report = report_of(run("cpu", power_saver=True, arguments={"sustained": "true"})[1])

    assert report.after.power_saver is True
    assert report.sustained_performance is False, "the framework's own configuration: no phone is configured"
    assert report_of(run("cpu")[1]).sustained_performance is None


def test_the_runtime_of_the_apk_computes_the_canary_as_the_host_does(run: Run, tmp_path: Path):
    (file,) = write_inputs(CANARY_JOB.inputs, CANARY_JOB.seed, tmp_path)

    report = report_of(run("cpu", arguments={"inputs": file})[1])

    (output,) = report.outputs
    assert report.folder.endswith("/org.nnlite.benchmark/1a") or "cache" in report.folder
    computed = np.fromfile(Path(report.folder) / output.file, "<f4")
    assert computed == pytest.approx(
        np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4"), rel=1e-4, abs=1e-5
    )


def test_the_plain_cpu_runs_without_xnnpack(run: Run):
    report = report_of(run("cpu-plain")[1])

    assert (report.error, report.delegation, report.runs) == (None, None, RUNS)


def test_an_unplugged_battery_and_one_without_a_counter_are_told_apart(run: Run):
    pass_of = {"continuous_s": 0.1}
    battery = report_of(run("cpu", arguments=pass_of, charging=False, charge_uah=0)[1]).battery

    assert (battery.plugged, battery.charge_uah) == ((False, False), (None, None))
    assert report_of(run("cpu")[1]).battery is None


def test_the_measuring_thread_is_bound_to_the_cores_that_are_asked_for(run: Run):
    everywhere = report_of(run("cpu")[1])
    last = max(everywhere.cores)

    bound = report_of(run("cpu", arguments={"cores": last, "min_s": 0.1})[1])

    assert (bound.cores, bound.cores_error, bound.error) == ((last,), None, None)
    assert set(bound.slice_cores or {}) <= {str(last)}
    assert report_of(run("cpu")[1]).cores == everywhere.cores, "of this run's thread alone"


@pytest.mark.parametrize(
    ("cores", "why"),
    [
        ("63", "sched_setaffinity of cores [63] fails with errno 22"),
        ("0,64", "core 64 is beyond the 64 of the app's mask"),
    ],
)
def test_a_thread_that_cannot_be_bound_is_measured_and_the_report_says_why(run: Run, cores, why):
    everywhere = report_of(run("cpu")[1])

    report = report_of(run("cpu", arguments={"cores": cores})[1])

    assert (report.cores_error, report.cores, report.error) == (why, everywhere.cores, None)


def test_continuous_runs_are_reported_in_bins_of_a_second(run: Run, android: AppHost):
    report = report_of(run("cpu", arguments={"continuous_s": 2.5})[1])

    assert (report.error, report.samples, report.latency, report.outputs) == (None, "", None, ())
    assert len(report.bins.runs) <= 3 and min(report.bins.runs) >= 1, "one, if the machine stands still"
    assert report.run_ns == report.bins.end_ns[-1] >= 2.5e9
    assert 0 < min(report.bins.median_ns) <= max(report.bins.median_ns) <= report.run_ns
    assert report.disturbance.window_ns >= report.run_ns
    assert (report.battery.charge_uah, report.battery.voltage_mv) == ((3_000_000,) * 2, (3_900,) * 2)
    assert report.battery.plugged == (True, True)
    assert report.thermal is None if android.level < 29 else report.thermal.status


@pytest.mark.parametrize("how", [{"storage": False}, {"arguments": {"transfer": "status"}}])
def test_files_that_cannot_or_must_not_be_written_are_sent(run: Run, android: AppHost, how):
    if "storage" in how and android.level < 29:
        pytest.skip("Robolectric always has the external cache folder, which the app uses below API 29")
    events, ending = run("cpu", **how)

    (chunk,) = [event for event in events if isinstance(event, Chunk)]
    assert len(chunk.data) == report_of(ending).outputs[0].size_bytes
    assert report_of(ending).folder is None


def test_a_window_that_loses_the_focus_during_the_runs_is_reported(run: Run):
    report = report_of(run("cpu", focus="lost", arguments={"min_runs": 1})[1])

    assert (report.in_front, report.error) == (False, None)


def test_an_activity_that_does_not_come_up_is_asked_for_and_then_measured(run: Run):
    events, ending = run("cpu", focus="blocked")

    assert isinstance(events[0], WindowMissing)
    assert report_of(ending).in_front is True


def test_a_gpu_delegate_that_cannot_be_created_is_a_refusal_without_a_cpu_run(run: Run):
    """The real GpuDelegate: its native library needs OpenGL ES."""
    events, ending = run("gpu")

    report = report_of(ending)
    assert report.refusal is Refusal.RUNTIME
    assert "Failed to load native GpuDelegate methods" in report.error
    assert stages(events) == [Stage.INITIALIZE]
    assert report.latency is None and report.outputs == ()


def test_nnapi_without_a_driver_is_a_refusal(run: Run, android: AppHost):
    """The real NnApiDelegate: there is no libneuralnetworks.so, as on a phone without NNAPI."""
    report = report_of(run("npu")[1])

    if android.level < 27:
        assert (report.refusal, report.error) == (
            Refusal.RUNTIME, f"NNAPI needs API level 27, this device has {android.level}",
        )  # fmt: skip
        return
    assert report.refusal is Refusal.NOT_DELEGATED
    assert report.error == f"TfLiteNnapiDelegate took none of the {OPERATORS} nodes"
    assert report.delegation.delegated_nodes == 0
    assert report.samples == ""
    assert report.delegate_messages == "", "the real runtime's messages were read, and there are none"


def test_without_a_readable_log_nodes_are_counted_from_the_graph(run: Run):
    report = report_of(run("cpu", logcat=False)[1])

    assert report.delegation.counted_from == "graph"
    assert report.delegation.delegated_nodes == report.delegation.total_nodes == OPERATORS


def test_an_input_that_does_not_fit_is_refused_with_both_sizes(run: Run, tmp_path: Path):
    (tmp_path / "short.raw").write_bytes(bytes(12))

    report = report_of(run("cpu", arguments={"inputs": tmp_path / "short.raw"})[1])

    assert report.error == "input t4 is float32 [1, 8, 8, 12], 3072 bytes; 12 were given"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"cores": "4-7"}, "cores is 4-7: give their numbers, such as 4,5"),
        ({"backend": "tpu"}, "backend is tpu: give cpu, gpu, npu or cpu-plain"),
        ({"model": "/nowhere/m.tflite"}, "/nowhere/m.tflite cannot be read"),
    ],
)
def test_an_error_of_the_app_gives_no_report(run: Run, argument, message):
    events, ending = run("cpu", arguments=argument)

    assert stages(events) == []
    assert isinstance(ending, AppError) and message in ending.text
