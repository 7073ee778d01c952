"""The output of `am instrument` is parsed into stages, chunks and one end, however it is split or damaged.

More than 300 lines: most lines are recorded output of `am instrument`.
"""

import base64
import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite.reports.schema import RunReport
from nnlite.vocabulary import Backend, Stage
from nnlite_benchmark.android.app import instrumentation
from nnlite_benchmark.android.app.chunks import Chunk
from nnlite_benchmark.android.app.instrumentation import (
    AppError,
    Crashed,
    Garbled,
    InstrumentationParser,
    NotStarted,
    Reported,
    StageEntered,
)
from nnlite_benchmark.android.app.request import RunRequest, Transfer, command_line
from nnlite_benchmark.protocol.runs import Bounds

BOUNDS = Bounds(
    warmup_min_runs=5,
    warmup_min_s=0.5,
    warmup_max_s=10.0,
    warmup_agreeing_runs=40,
    warmup_tolerance=0.04,
    min_runs=50,
    min_s=2.0,
    max_s=60.0,
    few_runs=5,
    few_runs_max_s=180.0,
)
REQUEST = RunRequest(
    run="c0ffee",
    model="/data/local/tmp/nnlite/ab.tflite",
    inputs=("/data/local/tmp/nnlite/c0ffee_input_0.raw", "/data/local/tmp/nnlite/c0ffee_input_1.raw"),
    backend=Backend.GPU,
    threads=1,
    precision_loss=False,
    bounds=BOUNDS,
)
REPORT = RunReport(runtime="TFLite", runtime_version="2.16.1", threads=1, stage=Stage.RUN, init_ns=12)

NORMAL = f"""\
INSTRUMENTATION_STATUS: pid=4711
INSTRUMENTATION_STATUS: stage=initialize
INSTRUMENTATION_STATUS_CODE: 1
INSTRUMENTATION_STATUS: first_inference_ns=1234567
INSTRUMENTATION_STATUS: pid=4711
INSTRUMENTATION_STATUS: stage=warm-up
INSTRUMENTATION_STATUS_CODE: 1
INSTRUMENTATION_STATUS: first_inference_ns=1234567
INSTRUMENTATION_STATUS: pid=4711
INSTRUMENTATION_STATUS: stage=run
INSTRUMENTATION_STATUS_CODE: 1
INSTRUMENTATION_STATUS: data={base64.b64encode(b"abc").decode()}
INSTRUMENTATION_STATUS: file=output_0.raw
INSTRUMENTATION_STATUS: piece=0
INSTRUMENTATION_STATUS: pieces=1
INSTRUMENTATION_STATUS_CODE: 2
INSTRUMENTATION_RESULT: report={REPORT.model_dump_json()}
INSTRUMENTATION_CODE: -1
"""
NORMAL_EVENTS = [
    StageEntered(stage=Stage.INITIALIZE, pid=4711, first_inference_ns=None),
    StageEntered(stage=Stage.WARM_UP, pid=4711, first_inference_ns=1234567),
    StageEntered(stage=Stage.RUN, pid=4711, first_inference_ns=1234567),
    Chunk(file="output_0.raw", index=0, count=1, data=b"abc"),
]

# What Android itself prints, from public reports.
# https://github.com/openatx/uiautomator2/issues/509
CRASH = """\
INSTRUMENTATION_RESULT: shortMsg=Process crashed.
INSTRUMENTATION_CODE: 0
"""
# The form of Android 8 and later, as in Android Studio's tests of its parser (tools/adt/idea).
NOT_FOUND = """\
INSTRUMENTATION_STATUS: id=ActivityManagerService
INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: ComponentInfo{org.nnlite.benchmark/\
org.nnlite.benchmark.BenchmarkInstrumentation}
INSTRUMENTATION_STATUS_CODE: -1
onError: commandError=true message=INSTRUMENTATION_FAILED: org.nnlite.benchmark/.BenchmarkInstrumentation
android.util.AndroidException: INSTRUMENTATION_FAILED: org.nnlite.benchmark/.BenchmarkInstrumentation
\tat com.android.commands.am.Instrument.run(Instrument.java:519)
\tat com.android.commands.am.Am.runInstrument(Am.java:202)
"""


def read(text, chunk_chars=None):
    parser = InstrumentationParser()
    size = chunk_chars or max(1, len(text))
    events = [e for start in range(0, len(text), size) for e in parser.feed(text[start : start + size])]
    last, end = parser.finish()
    return events + last, end


def end_of(text):
    return read(text)[1]


def stage(name, **values):
    lines = [f"INSTRUMENTATION_STATUS: {key}={value}" for key, value in {"stage": name, **values}.items()]
    return "\n".join([*lines, "INSTRUMENTATION_STATUS_CODE: 1", ""])


def chunk(**values):
    values = {"data": "YWJj", "file": "output_0.raw", "piece": 0, "pieces": 1, **values}
    lines = [f"INSTRUMENTATION_STATUS: {key}={value}" for key, value in values.items()]
    return "\n".join([*lines, "INSTRUMENTATION_STATUS_CODE: 2", ""])


def test_the_command_line_carries_every_argument_as_a_string():
    words = shlex.split(command_line(REQUEST))
    arguments = dict(
        zip(words[words.index("-e") + 1 : -1 : 3], words[words.index("-e") + 2 : -1 : 3], strict=True)
    )

    assert words[:6] == ["am", "instrument", "-w", "-r", "--user", "0"]
    assert words[-1] == "org.nnlite.benchmark/.BenchmarkInstrumentation"
    assert arguments == {
        "run": "c0ffee",
        "model": "/data/local/tmp/nnlite/ab.tflite",
        "inputs": "/data/local/tmp/nnlite/c0ffee_input_0.raw,/data/local/tmp/nnlite/c0ffee_input_1.raw",
        "backend": "gpu",
        "threads": "1",
        "precision_loss": "false",
        "transfer": "auto",
        "warmup_min_runs": "5",
        "warmup_min_s": "0.5",
        "warmup_max_s": "10",
        "warmup_agreeing_runs": "40",
        "warmup_tolerance": "0.04",
        "min_runs": "50",
        "min_s": "2",
        "max_s": "60",
        "few_runs": "5",
        "few_runs_max_s": "180",
    }


def test_a_name_for_the_gpus_programs_is_an_argument_where_they_are_kept():
    words = shlex.split(command_line(RunRequest(**{**vars(REQUEST), "programs": "ab12"})))

    assert words[words.index("programs") + 1] == "ab12"


def test_precision_loss_is_an_argument():
    words = shlex.split(command_line(RunRequest(**{**vars(REQUEST), "precision_loss": True})))

    assert words[words.index("precision_loss") + 1] == "true"


@given(path=st.text(st.characters(exclude_characters=",\0", exclude_categories=["Cs"]), min_size=1))
def test_no_path_breaks_out_of_its_quotes(path):
    request = RunRequest(**{**vars(REQUEST), "model": path, "inputs": (path,), "transfer": Transfer.STATUS})

    words = shlex.split(command_line(request))

    assert words[words.index("model") + 1] == words[words.index("inputs") + 1] == path


def test_a_comma_in_a_path_and_an_invalid_run_are_rejected():
    with pytest.raises(ValueError, match="comma"):
        command_line(RunRequest(**{**vars(REQUEST), "inputs": ("/a,b",)}))
    with pytest.raises(ValueError, match="not hexadecimal"):
        command_line(RunRequest(**{**vars(REQUEST), "run": "../x"}))


def test_a_normal_run_gives_stages_chunks_and_a_report():
    assert read(NORMAL) == (NORMAL_EVENTS, Reported(report=REPORT))


@pytest.mark.parametrize("chunk_chars", [1, 7, 4096])
def test_crlf_line_ends_and_any_split_give_the_same_events(chunk_chars):
    assert read(NORMAL.replace("\n", "\r\n"), chunk_chars) == (NORMAL_EVENTS, Reported(report=REPORT))


def test_a_split_utf8_character_is_decoded():
    raw = NORMAL.replace("TFLite", "TFLité").encode()
    cut = raw.index("é".encode()) + 1
    parser = InstrumentationParser()
    parser.feed(raw[:cut])
    parser.feed(raw[cut:])

    assert parser.finish()[1] == Reported(report=REPORT.model_copy(update={"runtime": "TFLité"}))


def test_the_last_line_needs_no_line_end():
    assert end_of(NORMAL.removesuffix("\n")) == Reported(report=REPORT)


def test_lines_of_other_programs_are_ignored():
    noise = "WARNING: linker: Warning: unsupported flags DT_FLAGS_1=0x8000001\n"
    noisy = noise + NORMAL.replace("INSTRUMENTATION_CODE", noise + "INSTRUMENTATION_CODE")

    assert read(noisy) == (NORMAL_EVENTS, Reported(report=REPORT))


def test_nothing_is_parsed_after_the_result():
    parser = InstrumentationParser()
    parser.feed(NORMAL)

    assert parser.ended
    assert parser.feed(NORMAL) == []
    assert parser.finish() == ([], Reported(report=REPORT))


def test_an_error_of_the_app_keeps_all_its_lines():
    text = "INSTRUMENTATION_RESULT: error=model cannot be read\njava.io.FileNotFoundException: EACCES\n"

    assert end_of(text + "INSTRUMENTATION_CODE: 0\n") == AppError(
        text="model cannot be read\njava.io.FileNotFoundException: EACCES"
    )


def test_a_crash_has_androids_message():
    assert end_of(CRASH) == Crashed(message="Process crashed.")
    java = "INSTRUMENTATION_RESULT: longMsg=java.lang.OutOfMemoryError: Failed\n" + CRASH
    assert end_of(java) == Crashed(message="Process crashed.; java.lang.OutOfMemoryError: Failed")


def test_a_system_crash_during_the_run_is_a_crash():
    text = (
        stage("initialize", pid=1)
        + "onError: commandError=false message=INSTRUMENTATION_ABORTED: System has crashed.\n"
        + "INSTRUMENTATION_ABORTED: System has crashed.\n"
    )

    assert isinstance(end_of(text), Crashed)
    assert "System has crashed" in end_of(text).message


def test_a_system_crash_before_the_run_is_a_crash():
    assert isinstance(end_of("INSTRUMENTATION_ABORTED: System has crashed.\n"), Crashed)


def test_a_failure_of_am_during_the_run_is_a_crash():
    text = stage("initialize", pid=1) + "cmd: Failure calling service activity: Broken pipe (32)\n"

    assert end_of(text) == Crashed(message="cmd: Failure calling service activity: Broken pipe (32)")


def test_a_missing_app_is_not_started():
    end = end_of(NOT_FOUND)

    assert isinstance(end, NotStarted)
    assert end.message.startswith("Unable to find instrumentation info for: ComponentInfo{org.nnlite")
    assert "Instrument.java" not in end.message


@pytest.mark.parametrize(
    "text",
    [
        "Error: Bad component name: x\n",
        "\nException occurred while executing 'instrument':\njava.lang.SecurityException: No\n",
        "java.lang.SecurityException: Permission Denial: not allowed to perform GET_CONTENT\n",
        "android.util.AndroidException: INSTRUMENTATION_FAILED: a/b\n",
        "INSTRUMENTATION_FAILED: a/b\n",
        "cmd: Can't find service: activity\n",
        "/system/bin/sh: am: inaccessible or not found\n",
        "Error type 2\nandroid.util.AndroidException: Can't connect to activity manager\n",
    ],
)
def test_an_error_of_am_is_not_started(text):
    end = end_of(text)

    assert isinstance(end, NotStarted)
    assert text.split()[-1] in end.message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ends without"),
        (NORMAL[: NORMAL.index("INSTRUMENTATION_CODE")], "ends without"),
        (NORMAL[:300], "ends without"),
        ("INSTRUMENTATION_CODE: -1\n", "ended with code -1 and nothing"),
        ("INSTRUMENTATION_RESULT: report={}\nINSTRUMENTATION_CODE: 0\n", "ended with code 0 and report"),
        ("INSTRUMENTATION_RESULT: report={}\nINSTRUMENTATION_CODE: 7\n", "ended with code 7 and report"),
        ("INSTRUMENTATION_RESULT: report={}\nINSTRUMENTATION_CODE: -1\n", "runtime: Field required"),
        ('INSTRUMENTATION_RESULT: report={"runtime\nINSTRUMENTATION_CODE: -1\n', "JSON: Invalid JSON"),
        (
            "INSTRUMENTATION_RESULT: report={}\n" * 2 + "INSTRUMENTATION_CODE: -1\n",
            "report came twice",
        ),
        (stage("compile", pid=1), "stage 'compile' is none of"),
        (stage("run", pid=1) + stage("warm-up", pid=1), "stage warm-up came after run"),
        (stage("run", pid=1) + stage("run", pid=1), "stage run came after run"),
        (stage("run"), "pid '' is not a whole number"),
        (stage("run", pid="-1"), "pid '-1' is not a whole number"),
        (stage("run", pid=1, first_inference_ns="9" * 5000), "is not a whole number"),
        (chunk(data="a\u00e9=="), "is not base64"),
        (chunk(data="abc"), "is not base64"),
        (chunk(data="YW!Jj"), "is not base64"),
        (chunk(piece="x"), "piece 'x' is not a whole number"),
        (chunk(data="A" * 100_000), "larger than 65536 bytes"),
        ("x" * (instrumentation.MAX_LINE_CHARS + 1), "a line is longer"),
        ("x" * (instrumentation.MAX_LINE_CHARS + 1) + "\n" + NORMAL, "a line is longer"),
        ("INSTRUMENTATION_RESULT: error=x\n" + ("y" * 100_000 + "\n") * 30, "one bundle has more"),
    ],
)
def test_invalid_output_is_garbled_with_a_reason(text, why):
    end = end_of(text)

    assert isinstance(end, Garbled)
    assert why in end.why


def test_an_endless_line_is_rejected():
    parser = InstrumentationParser()
    for _ in range(17):
        parser.feed("x" * 65536)

    assert parser.ended


def test_endless_output_is_rejected(monkeypatch):
    monkeypatch.setattr(instrumentation, "MAX_STREAM_CHARS", 10_000)
    parser = InstrumentationParser()
    for _ in range(1000):
        parser.feed("INSTRUMENTATION_STATUS_CODE: 3\n")

    assert parser.ended
    assert "the output is longer" in parser.finish()[1].why


def test_a_report_with_nan_is_garbled():
    report = json.loads(REPORT.model_dump_json()) | {"run_ns": float("nan")}
    text = f"INSTRUMENTATION_RESULT: report={json.dumps(report)}\nINSTRUMENTATION_CODE: -1\n"

    assert isinstance(end_of(text), Garbled)


OUTPUT = {"name": "x", "dtype": "float32", "shape": [1], "file": "x.raw", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"threads": 2**60}, "threads"),
        ({"init_ns": -1}, "init_ns"),
        ({"nnapi_errno": 10**30}, "nnapi_errno"),
        ({"outputs": [OUTPUT | {"dtype": "(,)f4"}]}, "dtype"),
        ({"outputs": [OUTPUT | {"shape": [1] * 99}]}, "shape"),
        ({"before": {"at": "2026-11-29T00:00:00Z", "temperatures_c": {"cpu": 1e400}}}, "temperatures_c"),
        ({"error": "x" * 100_000}, "error"),
    ],
)
def test_a_report_with_absurd_values_is_garbled_and_its_field_named(change, field):
    report = json.loads(REPORT.model_dump_json()) | change
    text = f"INSTRUMENTATION_RESULT: report={json.dumps(report)}\nINSTRUMENTATION_CODE: -1\n"

    end = end_of(text)

    assert isinstance(end, Garbled)
    assert "the report does not fit: " in end.why and field in end.why


def test_a_nul_in_the_texts_of_a_report_is_replaced_because_postgres_stores_none():
    report = json.loads(REPORT.model_dump_json()) | {"error": "a\0b", "slice_cores": {"\0": 1}}
    text = f"INSTRUMENTATION_RESULT: report={json.dumps(report)}\nINSTRUMENTATION_CODE: -1\n"

    reported = end_of(text).report

    assert (reported.error, reported.slice_cores) == ("a\ufffdb", {"\ufffd": 1})


LINES = st.sampled_from(NORMAL.splitlines() + CRASH.splitlines() + NOT_FOUND.splitlines())


@given(st.lists(st.one_of(LINES, st.text(max_size=80)), max_size=30).map("\n".join))
def test_any_output_gives_an_end(text):
    events, end = read(text, 13)

    assert isinstance(end, Reported | AppError | Crashed | NotStarted | Garbled)
    assert all(isinstance(event, StageEntered | Chunk) for event in events)
    assert read(text)[1] == end


@given(st.binary(max_size=300))
def test_invalid_utf8_gives_an_end(raw):
    parser = InstrumentationParser()
    parser.feed(raw)

    assert isinstance(parser.finish()[1], Garbled | NotStarted)


def test_errors_that_am_prints_to_stderr_say_why_the_app_does_not_start():
    """`am` throws its own errors: AOSP's BaseCommand prints them, with their stack, to stderr."""
    stderr = (
        "android.util.AndroidException: INSTRUMENTATION_FAILED: "
        "org.nnlite.benchmark/.BenchmarkInstrumentation\n"
        "\tat com.android.commands.am.Instrument.run(Instrument.java:519)\n"
    )
    _, end = InstrumentationParser().finish(stderr=stderr, status=1)

    assert isinstance(end, NotStarted)
    assert end.message == (
        "android.util.AndroidException: INSTRUMENTATION_FAILED: "
        "org.nnlite.benchmark/.BenchmarkInstrumentation (am exited with 1)"
    )


def test_a_command_that_ends_without_a_word_shows_its_exit_status():
    _, end = InstrumentationParser().finish(stderr="Killed\n", status=137)

    assert isinstance(end, Garbled)
    assert end.why.endswith("INSTRUMENTATION_CODE (am exited with 137) after 'Killed'")


def test_stderr_after_a_report_changes_nothing():
    parser = InstrumentationParser()
    parser.feed(NORMAL)

    assert parser.finish(stderr="Error: the process crashed while it ended\n", status=1)[1] == Reported(
        report=REPORT
    )
