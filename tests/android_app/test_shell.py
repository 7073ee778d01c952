"""The app's Android shell on the JVM, with doubles of Android (`doubles/`), read by the host's own parser."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from android_app.conftest import TIMEOUT_S
from apk.building import SOURCES, Toolchain
from nnlite.reports.schema import RunReport
from nnlite.vocabulary import Refusal, Stage
from nnlite_benchmark.android.app.chunks import Chunk
from nnlite_benchmark.android.app.instrumentation import AppError, InstrumentationParser, Reported
from nnlite_benchmark.protocol.canary import MODEL_FILE
from nnlite_benchmark.protocol.statistics import decode_samples, summarize

DOUBLES = Path(__file__).with_name("doubles")
DELEGATED = (
    "Replacing 6 out of 7 node(s) with delegate ({}) node, yielding 2 partitions for the whole graph.".format
)
QUICK = {"warmup_min_s": "0", "min_runs": "60", "min_s": "0"}
Run = Callable[..., tuple[list[object], object]]


@pytest.fixture(scope="module")
def shell(tools: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Compile the app against the real Android, then the doubles; these come first in the class path."""
    libraries = [library / "classes.jar" for library in tools.libraries]
    app, doubles = tmp_path_factory.mktemp("app"), tmp_path_factory.mktemp("doubles")
    tools.compile(SOURCES.rglob("*.java"), [tools.platform, *libraries], app)
    tools.compile(DOUBLES.rglob("*.java"), [app, *libraries], doubles)
    return [doubles, app, *libraries]


@pytest.fixture
def run(shell: list[Path], tmp_path: Path) -> Run:
    """Run the app as the host does: `run("cpu", api=30, delegated="...")`."""
    log = tmp_path / "log"
    log.touch()
    logcat = tmp_path / "bin" / "logcat"
    logcat.parent.mkdir()
    (tmp_path / "input.raw").write_bytes(np.arange(4, dtype="<f4").tobytes())

    def start(backend: str, *, api: int = 30, logcat_works: bool = True, arguments=(), **properties: str):
        logcat.write_text(f"#!/bin/sh\nexec cat {log}\n" if logcat_works else "#!/bin/sh\nexit 1\n")
        logcat.chmod(0o755)
        asked = {"run": "1a", "model": MODEL_FILE, "inputs": tmp_path / "input.raw", "backend": backend}
        double = {"double.api": api, "double.root": tmp_path, "double.log": log}
        double |= {f"double.{name}": value for name, value in properties.items()}
        result = subprocess.run(
            [
                "java", "-XX:TieredStopAtLevel=1", *(f"-D{name}={value}" for name, value in double.items()),
                "-cp", ":".join(map(str, shell)), "org.nnlite.benchmark.AmInstrument",
                *(f"{key}={value}" for key, value in (asked | QUICK | dict(arguments)).items()),
            ],
            env={"PATH": f"{logcat.parent}:/usr/bin:/bin"},
            capture_output=True, text=True, timeout=TIMEOUT_S, check=True,
        )  # fmt: skip
        parser = InstrumentationParser()
        events = parser.feed(result.stdout)
        left, ending = parser.finish()
        return [*events, *left], ending

    return start


def report_of(ending: object) -> RunReport:
    assert isinstance(ending, Reported), ending
    return ending.report


def test_a_whole_run_is_stages_files_and_a_report(run: Run, tmp_path: Path):
    events, ending = run("cpu", delegated=DELEGATED("TfLiteXNNPackDelegate"))

    assert [event.stage for event in events] == [Stage.INITIALIZE, Stage.WARM_UP, Stage.RUN]
    assert [event.first_inference_ns for event in events] == [None, 1_500_000, 1_500_000]
    report = report_of(ending)
    assert (report.runtime, report.runtime_version, report.error) == ("TFLite", "2.16.1", None)
    assert (report.delegation.delegated_nodes, report.delegation.total_nodes) == (6, 7)
    assert report.delegation.counted_from == "log"
    assert (report.in_front, report.pss_after_kb) == (True, 61_234)
    assert (report.after.battery_percent, report.after.charging) == (86.0, True)
    assert (report.after.thermal_status, report.after.temperatures_c) == (1, {"battery": 31.5})
    assert report.peak_rss_kb > 1000
    samples = decode_samples(report.samples, max_samples=1000)
    assert (report.runs, report.latency) == (60, summarize(samples))
    (output,) = report.outputs
    assert Path(report.folder) == tmp_path / "media" / "1a"
    assert np.fromfile(Path(report.folder) / output.file, "<f4").tolist() == [0, 2, 4, 6]


def test_below_api_29_files_are_in_the_cache_folder_and_there_is_no_thermal_status(run: Run, tmp_path: Path):
    report = report_of(run("cpu", api=28)[1])

    assert Path(report.folder) == tmp_path / "external_cache" / "1a"
    assert report.before.thermal_status is None


@pytest.mark.parametrize("how", [{"no_storage": "true"}, {"arguments": {"transfer": "status"}}])
def test_files_that_cannot_or_must_not_be_written_are_sent(run: Run, how):
    events, ending = run("cpu", **how)

    (chunk,) = [event for event in events if isinstance(event, Chunk)]
    assert np.frombuffer(chunk.data, "<f4").tolist() == [0, 2, 4, 6]
    assert report_of(ending).folder is None


def test_a_gpu_delegate_that_cannot_be_created_is_a_refusal_without_a_cpu_run(run: Run):
    """The real GpuDelegate: its native library is Android's."""
    events, ending = run("gpu")

    report = report_of(ending)
    assert report.refusal is Refusal.RUNTIME
    assert "Failed to load native GpuDelegate methods" in report.error
    assert [event.stage for event in events] == [Stage.INITIALIZE]
    assert report.latency is None and report.outputs == ()


def test_nnapi_that_takes_nothing_is_a_refusal_with_its_error_code(run: Run):
    report = report_of(run("npu")[1])

    assert report.refusal is Refusal.NOT_DELEGATED
    assert report.error.startswith("TfLiteNnapiDelegate took none of the ")
    assert (report.delegation.delegated_nodes, report.nnapi_errno) == (0, 0)
    assert report.samples == ""


def test_nnapi_that_takes_some_nodes_is_measured(run: Run):
    report = report_of(run("npu", delegated=DELEGATED("TfLiteNnapiDelegate"))[1])

    assert report.error is None
    assert (report.delegation.delegate, report.delegation.partitions) == ("TfLiteNnapiDelegate", 2)
    assert report.runs == 60


def test_nnapi_needs_api_27(run: Run):
    report = report_of(run("npu", api=26)[1])

    assert report.refusal is Refusal.RUNTIME
    assert report.error == "NNAPI needs API level 27, this device has 26"


def test_without_a_readable_log_nodes_are_counted_from_the_graph(run: Run):
    report = report_of(run("npu", logcat_works=False, plan="1")[1])

    assert report.delegation.counted_from == "graph"
    assert report.delegation.delegated_nodes == report.delegation.total_nodes > 1
    assert report.error is None


def test_without_log_and_graph_a_delegate_is_refused(run: Run):
    report = report_of(run("npu", logcat_works=False, plan="999")[1])

    assert (report.refusal, report.delegation) == (Refusal.NOT_DELEGATED, None)


def test_an_input_that_does_not_fit_is_refused_with_both_sizes(run: Run, tmp_path: Path):
    (tmp_path / "short.raw").write_bytes(bytes(12))

    report = report_of(run("cpu", arguments={"inputs": tmp_path / "short.raw"})[1])

    assert report.error == "input args_0 is float32 [1, 4], 16 bytes; 12 were given"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"backend": "tpu"}, "backend is tpu: give cpu, gpu or npu"),
        ({"model": "/nowhere/m.tflite"}, "/nowhere/m.tflite cannot be read"),
    ],
)
def test_an_error_of_the_app_gives_no_report(run: Run, argument, message):
    events, ending = run("cpu", arguments=argument)

    assert events == []
    assert isinstance(ending, AppError) and message in ending.text
