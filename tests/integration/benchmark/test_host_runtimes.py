"""Other runtimes on a host: the same protocol, with real measuring processes and small files."""

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from nnlite.artifacts.inputs import raw_bytes, seeded_input
from nnlite.vocabulary import Backend, Reason, Verdict
from nnlite_benchmark.device import InputSpec, RuntimeRefusal
from nnlite_benchmark.host.sessions import Refused, SessionRequest, open_session

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

NEVER = threading.Event()
SHAPE = (1, 16)


@pytest.fixture
def onnx_job(tmp_path, job):
    """A matrix product, and what it gives for the seeded input."""
    weights = np.eye(16, dtype=np.float32) * 2
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["args_0", "weights"], ["output_0"])],
        "double",
        [onnx.helper.make_tensor_value_info("args_0", onnx.TensorProto.FLOAT, SHAPE)],
        [onnx.helper.make_tensor_value_info("output_0", onnx.TensorProto.FLOAT, SHAPE)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "double.onnx"))
    (tmp_path / "expected.bin").write_bytes(raw_bytes(seeded_input(SHAPE, "float32", 0) * np.float32(2)))
    return replace(
        job,
        artifact=tmp_path / "double.onnx",
        inputs=(InputSpec(name="args_0", shape=SHAPE, dtype="float32"),),
        seed=0,
        expected_outputs=(tmp_path / "expected.bin",),
    )


def test_an_onnx_file_is_measured_as_any_other(make_device, steady_canary, onnx_job):
    report = make_device(min_runs=30).run(onnx_job, Backend.ONNXRUNTIME, stop=NEVER)

    assert (report.verdict, report.reasons) == (Verdict.VALID, ())
    assert (report.backend, report.runtime) == ("onnxruntime", "ONNX Runtime")
    assert report.runtime_version
    assert report.runs == 30
    assert report.parity.ok
    assert report.init_ns == report.load_ns + report.prepare_ns > 0
    assert report.delegation is None, "nothing was delegated, and that is no fault"
    assert report.initialization is None, "it has no cache of packed weights"


def test_wrong_outputs_are_found(make_device, steady_canary, onnx_job):
    onnx_job.expected_outputs[0].write_bytes(bytes(4 * 16))
    report = make_device().run(onnx_job, Backend.ONNXRUNTIME, stop=NEVER)
    assert (report.verdict, report.reasons) == (Verdict.INVALID, (Reason.PARITY,))
    assert report.latency is None


def test_a_file_that_is_no_onnx_is_a_refusal(make_device, steady_canary, onnx_job):
    onnx_job.artifact.write_bytes(b"no graph")
    with pytest.raises(RuntimeRefusal) as refused:
        make_device().run(onnx_job, Backend.ONNXRUNTIME, stop=NEVER)
    assert refused.value.report.runtime == "ONNX Runtime"
    assert "double.onnx" in refused.value.reason


def test_operators_of_onnx_runtime_are_not_profiled(make_device, onnx_job):
    profile = make_device().profile(onnx_job, Backend.ONNXRUNTIME, stop=NEVER)
    assert "ONNX Runtime is not profiled" in profile.error


@pytest.mark.parametrize(
    ("sizes", "said"), [((), "the artifact has 1 inputs, 0 were given"), ((60,), "64 bytes; 60 were given")]
)
def test_inputs_that_do_not_fit_are_refused(sizes, said, onnx_job, tmp_path):
    session = open_session(SessionRequest(Backend.ONNXRUNTIME, str(onnx_job.artifact), 1))
    session.load()
    session.prepare()
    files = []
    for size in sizes:
        files.append(tmp_path / f"input-{size}")
        files[-1].write_bytes(bytes(size))
    with pytest.raises(Refused, match=said):
        session.fill(list(map(str, files)))


def test_a_runtime_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "nnlite_benchmark.host.onnx_session", raising=False)
    with pytest.raises(Refused, match="install the extra onnx"):
        open_session(SessionRequest(Backend.ONNXRUNTIME, "file.onnx", 1))
