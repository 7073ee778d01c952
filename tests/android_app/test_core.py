"""The app's core on the JVM: its own tests, and that it agrees with the host where both do the same."""

import base64
import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from android_app.conftest import JAVA_TESTS
from nnlite.reports.schema import SCHEMA_FILE, Bins, Delegation, RunReport
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Precision, Refusal, Stage
from nnlite_benchmark.android.app.chunks import Chunk, ChunkAssembler
from nnlite_benchmark.android.app.request import RunRequest, Transfer, command_line
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.protocol.analysis.derivation import derive
from nnlite_benchmark.protocol.analysis.measurement import measurement_report, read_run
from nnlite_benchmark.protocol.analysis.statistics import decode_samples, summarize
from nnlite_benchmark.protocol.canary import MODEL_FILE
from nnlite_benchmark.protocol.continuous import continuous_runs
from nnlite_benchmark.protocol.delegation_log import logged
from nnlite_benchmark.protocol.gating import Gate, gated_runs
from nnlite_benchmark.protocol.runs import Bounds

JAVA_TEST_CLASSES = sorted(
    ".".join(path.relative_to(JAVA_TESTS).with_suffix("").parts) for path in JAVA_TESTS.rglob("*Test.java")
)


@pytest.mark.parametrize("test_class", JAVA_TEST_CLASSES)
def test_the_core_passes_its_own_tests(java: Callable[..., str], test_class: str):
    output = java("org.junit.runner.JUnitCore", test_class)

    assert "OK (" in output


def vectors() -> list[list[int]]:
    """Samples of quick and slow models, steady, noisy, drifting and interrupted."""
    draw = np.random.default_rng(4)
    noisy = [
        np.round(draw.gamma(40, scale / 40, size)).astype(np.int64).tolist()
        for size in (1, 2, 3, 4, 5, 9, 10, 11, 19, 49, 50, 51, 63, 64, 99, 100, 129, 130, 661, 662, 20_000)
        for scale in (80_000, 3_000_000_000)
    ]
    steady = [[7] * size for size in (1, 50, 64)]
    drifting = [list(range(1_000_000, 1_000_000 + 997 * 311, 311))]
    interrupted = [[*([1_000_000] * 60), 90_000_000, *([1_000_001] * 60)]]
    stretches = [
        np.repeat(draw.gamma(40, 2_000, 1 + size // 7), 7)[:size].astype(np.int64).tolist()
        for size in (50, 101, 400, 5_000)
    ]
    return [*noisy, *steady, *drifting, *interrupted, *stretches, [0] * 50]


def test_statistics_are_those_of_the_host(probe, tmp_path: Path):
    file = tmp_path / "vectors.txt"
    file.write_text("".join(" ".join(map(str, vector)) + "\n" for vector in vectors()))

    for vector, latency in zip(vectors(), probe("statistics", file), strict=True):
        expected = summarize(np.array(vector, np.int64)).model_dump()
        # Sums of squares are added up in another order; the last digit may differ.
        assert latency.pop("std_ns") == pytest.approx(expected.pop("std_ns"), abs=1)
        ratios = {key: value for key, value in expected.items() if isinstance(value, float)}
        assert {key: latency.pop(key) for key in ratios} == pytest.approx(ratios, rel=1e-9, abs=1e-12)
        assert latency == {key: value for key, value in expected.items() if key not in ratios}


def test_reports_of_the_core_are_those_of_the_schema_and_of_the_host(java):
    schema = json.loads(SCHEMA_FILE.read_text())
    validator = jsonschema.Draft202012Validator(schema | {"$ref": "#/$defs/RunReport"})
    lines = java("org.nnlite.benchmark.core.CoreProbe", "reports").splitlines()

    for line in lines:
        assert list(validator.iter_errors(json.loads(line))) == []
    whole, silent, refused, idle, continuous, gated = [RunReport.model_validate_json(line) for line in lines]

    assert whole.stage is Stage.RUN and whole.error is None
    samples = decode_samples(whole.samples, max_samples=1000)
    assert whole.runs == samples.size
    assert whole.latency == summarize(samples)
    assert [output.dtype for output in whole.outputs] == ["float32", "int8"]
    assert silent.before is not None and silent.before.cpuset is None
    assert (refused.refusal, refused.error) == (Refusal.RUNTIME, "dlopen failed: ü")
    assert idle.refusal is Refusal.NOT_DELEGATED and idle.delegation.delegated_nodes == 0
    assert not refused.samples and refused.latency is None and not idle.outputs
    assert continuous.runs is continuous.latency is None and len(continuous.bins.runs) == 4
    assert set(continuous.battery.charge_uah) == {2_900_000}
    assert whole.slices is None and sum(gated.slices.slice_runs) == gated.runs


def test_a_gated_run_of_the_app_is_counted_and_derived_again_as_one_of_the_host(java, tmp_path):
    *_, line = java("org.nnlite.benchmark.core.CoreProbe", "reports").splitlines()
    settings = MeasurementSettings(gated=True)
    job = BenchmarkJob(
        artifact=MODEL_FILE, artifact_sha256="0" * 64, model_name="net", precision=Precision.FP32,
        inputs=(), seed=0,
    )  # fmt: skip
    report = RunReport.model_validate_json(line).model_copy(update={"outputs": ()})
    run = read_run(report, tmp_path, started_at=datetime.now(UTC), gate=Gate.of(settings, None))

    measured = measurement_report(job, Backend.CPU, run, settings)

    assert measured.gating.enough
    assert measured.gating.counted_runs == measured.runs == sum(measured.gating.slice_runs)
    assert derive(measured).differences == ()


def test_every_field_of_the_report_is_written(java):
    """A field that the host's report gets later must not be forgotten here."""
    (whole, *_) = java("org.nnlite.benchmark.core.CoreProbe", "reports").splitlines()
    host_only = {
        "counters",
        "delegate_refusals",
        "energy",
        "energy_error",
        "huge_pages_kb",
        "initialization",
        "load_ns",
        "prepare_ns",
    }

    assert set(json.loads(whole)) == set(RunReport.model_fields) - host_only


def arguments_file(folder: Path, arguments: dict[str, str]) -> Path:
    file = folder / "arguments.txt"
    file.write_text("".join(f"{key}={value}\n" for key, value in arguments.items()))
    return file


def test_the_app_parses_the_arguments_that_the_host_sends(probe, tmp_path: Path):
    bounds = Bounds.of(MeasurementSettings(warmup_min_s=0.25, max_s=33, few_runs=4))
    request = RunRequest(
        run="0123abcd",
        model="/data/local/tmp/nnlite/model.tflite",
        inputs=("/data/local/tmp/nnlite/0_input_0.raw", "/data/local/tmp/nnlite/0_input_1.raw"),
        backend=Backend.NPU,
        threads=3,
        cores=(4, 5),
        precision_loss=True,
        programs="89ef",
        samples=8,
        continuous_s=0.5,
        sustained=True,
        max_headroom=0.65,
        cool_s=45.0,
        transfer=Transfer.STATUS,
        bounds=bounds,
        gate=Gate.of(MeasurementSettings(gate_limit=0.1), 200_001),
        gate_model="/data/local/tmp/nnlite/gate.tflite",
    )
    words = shlex.split(command_line(request))
    arguments = {words[at + 1]: words[at + 2] for at, word in enumerate(words) if word == "-e"}

    (understood,) = probe("arguments", arguments_file(tmp_path, arguments))

    nested = {"bounds", "gate", "gate_model", "user"}
    asked = {name: value for name, value in vars(request).items() if name not in nested} | vars(bounds)
    gate = vars(request.gate) | {"gate_model": request.gate_model, "gate_fast_ns": 200_001}
    del gate["fast_ns"]
    assert understood == asked | {"inputs": list(request.inputs), "cores": [4, 5], "gate": gate}


def test_defaults_of_the_app_are_those_of_the_hosts_settings(probe, tmp_path: Path):
    least = {"run": "1a", "model": "/m.tflite", "inputs": "/i.raw", "backend": "cpu"}

    (understood,) = probe("arguments", arguments_file(tmp_path, least))

    settings = MeasurementSettings()
    assert understood["threads"] == settings.threads
    assert {name: understood[name] for name in vars(Bounds.of(settings))} == vars(Bounds.of(settings))
    assert understood["gate"] is None

    gated = arguments_file(tmp_path, least | {"gate_model": "/gate.tflite"})
    (understood,) = probe("arguments", gated)

    unknown = {"gate_model": "/gate.tflite", "gate_fast_ns": 0}
    expected = vars(Gate.of(settings, None))
    assert understood["gate"] == {name: expected[name] for name in expected if name != "fast_ns"} | unknown


class TwoSpeeds:
    """A core that needs twice as long in its slow phase; the same as CoreProbe's."""

    def __init__(self, model_ns, canary_ns, _fast_ns, fast_phase_ns, slow_phase_ns):
        self.now_ns = 0
        self.model_ns, self.canary_ns = model_ns, canary_ns
        self.fast_phase_ns, self.all_ns = fast_phase_ns, fast_phase_ns + slow_phase_ns

    def clock(self):
        return self.now_ns

    def invoke(self):
        self._run(self.model_ns)

    def canary(self):
        self._run(self.canary_ns)

    def _run(self, duration_ns):
        self.now_ns += duration_ns if self.now_ns % self.all_ns < self.fast_phase_ns else 2 * duration_ns


MS = 1_000_000
#: Model, canary, known fast speed (0: unknown), fast and slow phase.
CORES = [
    (MS, MS // 5, 0, 1000 * MS, 0),
    (MS, MS // 5, MS // 5, 300 * MS, 900 * MS),
    (7 * MS, MS // 5, 0, 200 * MS, 300 * MS),
    (300 * MS, MS // 5, MS // 5, 5000 * MS, 1000 * MS),  # longer than a slice
    (MS // 10, MS // 5, MS // 10, 1000 * MS, 0),  # never as fast as it was once
    (30_000 * MS, MS // 5, 0, 1000 * MS, 0),  # few runs
]


def test_gated_runs_are_those_of_the_host(probe, tmp_path: Path):
    file = tmp_path / "cores.txt"
    file.write_text("".join(" ".join(map(str, core)) + "\n" for core in CORES))
    settings = MeasurementSettings()

    for numbers, app in zip(CORES, probe("gated", file), strict=True):
        core = TwoSpeeds(*numbers)
        gate = Gate.of(settings, numbers[2] or None)
        bounds = Bounds.of(settings)
        runs = gated_runs(core.invoke, core.canary, core.clock, bounds, gate, typical_ns=numbers[0])
        names = ("canaries_ns", "slice_runs", "slice_first_ns", "learning_ns", "run_ns")
        assert app == {name: getattr(runs, name) for name in names} | {
            "runs": len(runs.samples_ns),
            "sum_ns": sum(runs.samples_ns),
        }


#: Milliseconds of the pass, and durations of inferences, which repeat.
PASSES = [
    (2_500, 150 * MS, 200 * MS, 180 * MS),
    (10_000, 3 * MS, 2 * MS, 9 * MS, 3 * MS),
    (3_000, 1_000 * MS),  # each is a bin
    (3_000, 1_700 * MS),  # longer than a bin
    (200, 900 * MS),  # one
]


def test_continuous_runs_are_those_of_the_host(probe, tmp_path: Path):
    file = tmp_path / "passes.txt"
    file.write_text("".join(" ".join(map(str, each)) + "\n" for each in PASSES))

    for (length_ms, *durations), app in zip(PASSES, probe("continuous", file), strict=True):
        now_ns, next_ns = [7], cycle(durations)
        invoke = lambda: now_ns.append(now_ns.pop() + next(next_ns))  # noqa: B023, E731
        runs = continuous_runs(invoke, lambda: now_ns[0], length_ms / 1e3)  # noqa: B023
        assert app == vars(runs)
        assert (
            Bins(**{name: tuple(values) for name, values in vars(runs).items()}).end_ns[-1] >= length_ms * MS
        )


def test_the_host_assembles_the_chunks_that_the_app_sends(probe, tmp_path: Path):
    content = np.random.default_rng(5).bytes(100_000)
    (tmp_path / "sent").write_bytes(content)
    assembler = ChunkAssembler()

    for sent in probe("chunks", tmp_path / "sent"):
        data = base64.b64decode(sent["data"])
        assembler.add(Chunk(file=sent["file"], index=sent["piece"], count=sent["pieces"], data=data))

    (file,) = assembler.write(tmp_path)
    assert (file.name, file.read_bytes()) == ("output_0.raw", content)


def test_the_host_reads_the_log_as_the_app_does(probe, tmp_path: Path):
    line = (
        "I/tflite  ( 4711): Replacing 34 out of 36 node(s) with delegate (TfLiteGpuDelegateV2) node, "
        "yielding 3 partitions for the whole graph.\n"
    )
    (tmp_path / "log").write_text(line)

    (counted,) = probe("delegation", tmp_path / "log")

    assert [counted] == [Delegation(**one).model_dump(mode="json") for one in logged(line)]


def test_operators_of_an_artifact_are_counted_as_the_runtime_counts_them(probe):
    interpreter = Interpreter(
        str(MODEL_FILE), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )

    assert probe("operators", MODEL_FILE) == [len(interpreter._get_ops_details())]
