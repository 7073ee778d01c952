"""Other runtimes on a host: the same protocol, with real measuring processes and small files."""

import os
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from android_app.outside import weights_outside
from android_app.runtime_match import LIBRARY
from apk.lock import properties
from nnlite.artifacts.inputs import raw_bytes, seeded_input
from nnlite.backends import HOST_RUNTIMES
from nnlite.vocabulary import Backend, Reason, Verdict
from nnlite_benchmark.device import BenchmarkJob, InputSpec, RuntimeRefusal
from nnlite_benchmark.host.sessions import Refused, SessionRequest, open_session

NEVER = threading.Event()
SHAPE = (1, 16)


@dataclass(frozen=True)
class Case:
    """A runtime with a job for it."""

    backend: Backend
    job: BenchmarkJob
    #: Bytes of the job's only input and output.
    input_bytes: int
    output_bytes: int

    @property
    def name(self) -> str:
        """As reports call the runtime."""
        return HOST_RUNTIMES[self.backend].name

    def session(self, artifact: Path | None = None):
        """The runtime's session, in this process."""
        file = str(artifact or self.job.artifact)
        return open_session(SessionRequest(self.backend, file, 1, str(LIBRARY)))


def doubling(tmp_path: Path, job: BenchmarkJob, artifact: Path) -> BenchmarkJob:
    """The job of an artifact that doubles its input."""
    (tmp_path / "expected.bin").write_bytes(raw_bytes(seeded_input(SHAPE, "float32", 0) * np.float32(2)))
    return replace(
        job,
        artifact=artifact,
        inputs=(InputSpec(name="args_0", shape=SHAPE, dtype="float32"),),
        seed=0,
        expected_outputs=(tmp_path / "expected.bin",),
    )


def of_onnx_runtime(tmp_path: Path, job: BenchmarkJob) -> Case:
    """A matrix product."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["args_0", "weights"], ["output_0"])],
        "double",
        [onnx.helper.make_tensor_value_info("args_0", onnx.TensorProto.FLOAT, SHAPE)],
        [onnx.helper.make_tensor_value_info("output_0", onnx.TensorProto.FLOAT, SHAPE)],
        [onnx.numpy_helper.from_array(np.eye(16, dtype=np.float32) * 2, "weights")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "double.onnx"))
    return Case(Backend.ONNXRUNTIME, doubling(tmp_path, job, tmp_path / "double.onnx"), 64, 64)


def of_executorch(tmp_path: Path, job: BenchmarkJob) -> Case:
    """A product."""
    pytest.importorskip("executorch.exir", reason="the extra executorch is not installed")
    (tmp_path / "double.pte").write_bytes(exported_by_executorch())
    return Case(Backend.EXECUTORCH, doubling(tmp_path, job, tmp_path / "double.pte"), 64, 64)


@cache
def exported_by_executorch(*, planned_input: bool = False) -> bytes:
    """A network that doubles its input."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    class Double(torch.nn.Module):
        def forward(self, x):
            return x * 2

    planning = MemoryPlanningPass(alloc_graph_input=planned_input)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(Double(), (torch.zeros(SHAPE),))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        return edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer


def of_the_app(tmp_path: Path, job: BenchmarkJob) -> Case:
    """The canary, which LiteRT measures too; copied, because tests change it."""
    (expected,) = job.expected_outputs
    artifact, outputs = tmp_path / "canary.tflite", tmp_path / "expected.bin"
    artifact.write_bytes(job.artifact.read_bytes())
    outputs.write_bytes(expected.read_bytes())
    (spec,) = job.inputs
    size = int(np.prod(spec.shape)) * 4
    of_copy = replace(job, artifact=artifact, expected_outputs=(outputs,))
    return Case(Backend.TFLITE_APP, of_copy, size, len(expected.read_bytes()))


CASES: dict[Backend, Callable[[Path, BenchmarkJob], Case]] = {
    Backend.ONNXRUNTIME: of_onnx_runtime,
    Backend.EXECUTORCH: of_executorch,
    Backend.TFLITE_APP: of_the_app,
}


@pytest.fixture(params=CASES)
def case(request, tmp_path, job) -> Case:
    return CASES[request.param](tmp_path, job)


def test_every_other_runtime_is_tested():
    assert {*CASES, Backend.CPU, Backend.CPU_PLAIN} == HOST_RUNTIMES.keys()


def test_its_artifact_is_measured_as_any_other(make_device, steady_canary, case):
    report = make_device(min_runs=30).run(case.job, case.backend, stop=NEVER)

    assert (report.verdict, report.reasons) == (Verdict.VALID, ())
    assert (report.backend, report.runtime) == (case.backend, case.name)
    assert report.runtime_version
    assert report.runs == 30
    assert report.parity.ok
    assert report.init_ns == report.load_ns + report.prepare_ns > 0
    assert report.initialization is None, "only LiteRT's cache of packed weights is measured"


def test_wrong_outputs_are_found(make_device, steady_canary, case):
    case.job.expected_outputs[0].write_bytes(bytes(case.output_bytes))
    report = make_device().run(case.job, case.backend, stop=NEVER)
    assert (report.verdict, report.reasons) == (Verdict.INVALID, (Reason.PARITY,))
    assert report.latency is None


def test_a_file_that_is_no_artifact_is_a_refusal(make_device, steady_canary, case):
    case.job.artifact.write_bytes(b"no graph")
    with pytest.raises(RuntimeRefusal) as refused:
        make_device().run(case.job, case.backend, stop=NEVER)
    assert refused.value.report.runtime == case.name
    assert refused.value.reason


def test_its_operators_are_not_profiled(make_device, case):
    profile = make_device().profile(case.job, case.backend, stop=NEVER)
    assert f"{case.name} is not profiled" in profile.error


def test_inputs_that_do_not_fit_are_refused(case, tmp_path):
    environment = dict(os.environ)
    session = case.session()
    session.load()
    session.prepare()
    with pytest.raises(Refused, match="the artifact has 1 inputs, 0 were given"):
        session.fill([])
    (tmp_path / "input").write_bytes(bytes(case.input_bytes - 4))
    with pytest.raises(Refused, match=f"{case.input_bytes} bytes; {case.input_bytes - 4} were given"):
        session.fill([str(tmp_path / "input")])
    assert dict(os.environ) == environment, "a worker takes unknown variables for settings"


def test_an_extra_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "nnlite_benchmark.host.onnx_session", raising=False)
    with pytest.raises(Refused, match="install the extra onnx"):
        open_session(SessionRequest(Backend.ONNXRUNTIME, "file.onnx", 1))


def test_a_file_whose_runs_overwrite_its_input_is_refused(tmp_path, job):
    case = of_executorch(tmp_path, job)
    case.job.artifact.write_bytes(exported_by_executorch(planned_input=True))
    session = case.session()
    session.load()
    session.prepare()
    with pytest.raises(Refused, match="a run overwrites input 0"):
        session.fill(["input"])


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (None, "is not set up here; build it with `make runtime-check`"),
        ("/nowhere", "cannot be loaded: .*libc"),
    ],
)
def test_where_the_library_of_the_app_is_missing_is_said(library, said):
    with pytest.raises(Refused, match=said):
        open_session(SessionRequest(Backend.TFLITE_APP, "file.tflite", 1, library))


def test_weights_after_the_flatbuffer_are_read_by_the_library_of_the_app(make_device, job, tmp_path):
    """The library's C API alone says "Input tensor 18 lacks data"."""
    artifact = weights_outside(job.artifact, tmp_path / "outside.tflite")
    report = make_device().run(replace(job, artifact=artifact), Backend.TFLITE_APP, stop=NEVER)
    assert report.error is None and report.parity.ok


def test_the_app_runs_with_its_own_xnnpack_and_as_many_threads(make_device, steady_canary, job):
    report = make_device().run(replace(job, threads=2), Backend.TFLITE_APP, stop=NEVER)

    assert report.runtime_version == properties()["tflite"]
    assert report.threads == 2
    assert report.delegation.delegate == "TfLiteXNNPackDelegate"
    assert report.delegation.delegated_nodes == report.delegation.total_nodes > 0
    assert report.delegation.counted_from == "log"
