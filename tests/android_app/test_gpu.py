"""The app's GPU backend off the device: its own GPU library on Mesa's software OpenGL ES."""

import ctypes
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder

from apk import REPOSITORY
from apk.shim import build_shim
from app_host import HOST_APP, AppHost
from nnlite.artifacts.inputs import from_raw_bytes
from nnlite.reports.schema import RunReport
from nnlite_benchmark.android.app.delegation import delegate_refusals
from nnlite_benchmark.android.app.instrumentation import InstrumentationParser, Reported
from nnlite_benchmark.protocol import canary

APK = REPOSITORY / "build" / "nnlite-benchmark.apk"
LIBRARIES = ("libtensorflowlite_jni.so", "libtensorflowlite_gpu_jni.so", "libnnlite_affinity.so")
#: The names that Android's loader finds, and Debian's of the same interfaces (libegl1, libgles2).
GRAPHICS = {"libEGL.so": "libEGL.so.1", "libGLESv3.so": "libGLESv2.so.2"}


@pytest.fixture(scope="module")
def android(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppHost]:
    """The app on API 30 with a GPU."""
    runtime = tmp_path_factory.mktemp("gpu")
    for name, of_host in GRAPHICS.items():
        (runtime / name).symlink_to(_path_of(of_host))
    with zipfile.ZipFile(APK) as package:
        for name in LIBRARIES:
            (runtime / name).write_bytes(package.read(f"lib/x86_64/{name}"))
    build_shim([runtime / name for name in LIBRARIES[:2]], runtime, "x86_64")
    app = replace(HOST_APP, runtime=runtime)
    with AppHost(30, tmp_path_factory.mktemp("android"), app=app) as host:
        yield host


def _path_of(library: str) -> str:
    """Return where a library of this machine is; without it, or without Mesa, there is nothing to test."""
    try:
        ctypes.CDLL("libEGL_mesa.so.0")
        ctypes.CDLL(library)
    except OSError as error:
        pytest.skip(f"no software GPU: install Debian's libegl1, libgl1-mesa-dri and libgles2 ({error})")
    maps = Path("/proc/self/maps").read_text().splitlines()
    return next(path for line in maps if Path(path := line.split()[-1]).name.startswith(library))


@dataclass(frozen=True)
class Ran:
    """A run's report and its output."""

    report: RunReport
    output: np.ndarray


def run(android: AppHost, model: Path, shape: tuple[int, ...], folder: Path, backend: str) -> Ran:
    values = np.random.default_rng(0).standard_normal(shape).astype("<f4")
    (folder / "input.raw").write_bytes(values.tobytes())
    arguments = {
        "run": "1a", "model": model, "inputs": folder / "input.raw", "backend": backend, "min_runs": 2,
        "warmup_min_runs": 1, "warmup_min_s": 0, "warmup_agreeing_runs": 0, "min_s": 0,
    }  # fmt: skip
    parser = InstrumentationParser()
    texts = {name: str(value) for name, value in arguments.items()}
    list(parser.feed(android.run({"arguments": texts, "storage": str(folder)})))
    _, ending = parser.finish()
    assert isinstance(ending, Reported), ending
    report = ending.report
    assert report.error is None and report.folder is not None, report.error
    (output,) = report.outputs
    raw = Path(report.folder, output.file).read_bytes()
    return Ran(report, from_raw_bytes(raw, output.shape, output.dtype))


def test_the_gpu_takes_all_nodes_and_computes_as_the_processor_does(android, tmp_path):
    on_cpu, on_gpu = (
        run(android, canary.GATE_FILE, (1, 8, 8, 12), tmp_path, name) for name in ("cpu", "gpu")
    )
    delegation = on_gpu.report.delegation
    assert (delegation.delegate, delegation.counted_from) == ("TfLiteGpuDelegateV2", "log")
    assert delegation.delegated_nodes == delegation.total_nodes > 0
    assert on_gpu.output == pytest.approx(on_cpu.output, rel=1e-4)


def test_an_operator_that_the_gpu_refuses_is_named_in_its_own_words(android, tmp_path):
    model = tmp_path / "sum_and_ceil.tflite"
    model.write_bytes(_sum_and_ceil())
    ran = run(android, model, (1, 4, 4, 4), tmp_path, "gpu")
    assert (ran.report.delegation.delegated_nodes, ran.report.delegation.total_nodes) == (1, 2)
    (refusal,) = delegate_refusals(ran.report.delegate_messages)
    assert (refusal.operator, refusal.reason) == ("CEIL", "Operation is not supported.")


def _sum_and_ceil() -> bytes:
    """Return an artifact that rounds the sum of its input and itself."""
    shape = [1, 4, 4, 4]
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    for name in (b"x", b"sum", b"y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, schema.TensorType.FLOAT32
        graph.tensors = [*(graph.tensors or []), tensor]
    graph.inputs, graph.outputs, graph.operators, model.operatorCodes = [0], [2], [], []
    steps = [(schema.BuiltinOperator.ADD, [0, 0], [1]), (schema.BuiltinOperator.CEIL, [1], [2])]
    for index, (kind, inputs, outputs) in enumerate(steps):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        operator.opcodeIndex, operator.inputs, operator.outputs = index, inputs, outputs
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.operators[0].builtinOptionsType = schema.BuiltinOptions.AddOptions
    graph.operators[0].builtinOptions = schema.AddOptionsT()
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
