"""Formats besides `.tflite`: a network's file, its parity, the cache, and what is measured of it."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from integration.conversion.models import CLASSIFIER, network
from integration.conversion.test_conversion import run
from integration.conversion.test_converter import convert, store
from nnlite.artifacts.inputs import from_raw_bytes, raw_bytes, seeded_input
from nnlite.backends import RUNTIME_OF_FORMAT, HostRuntime
from nnlite.results import queries
from nnlite.vocabulary import ArtifactFormat, Backend, Precision
from nnlite.worker.attempt import Outcome
from nnlite_benchmark.host.sessions import SessionRequest, open_session
from nnlite_benchmark.jobs import backends_of
from nnlite_conversion import cache_key
from nnlite_conversion import converter as module
from nnlite_conversion.pipeline import formats
from nnlite_conversion.pipeline.formats import executorch

# Exporters of PyTorch warn of their own use of it.
pytestmark = pytest.mark.filterwarnings("ignore")

__all__ = ["convert", "store"]
#: Of a classifier's file.
OPERATORS = {ArtifactFormat.ONNX: "Conv", ArtifactFormat.PTE: "XnnpackBackend"}
ALL = (Backend.CPU, *(each.backend for each in RUNTIME_OF_FORMAT.values()))
FORMATS = tuple(RUNTIME_OF_FORMAT)


@pytest.fixture(autouse=True, scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    for each in FORMATS:
        if missing := cache_key.missing_exporters(each):
            pytest.skip(f"{', '.join(missing)} not installed: an extra is missing")
    # ExecuTorch's first export takes 5 s of processor time more than later ones: here, or in each fork.
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(1),))
    executorch.export(program, None, tmp_path_factory.mktemp("first") / "first.pte")


@pytest.fixture(params=RUNTIME_OF_FORMAT.values(), ids=FORMATS)
def runtime(request) -> HostRuntime:
    return request.param


def test_a_network_becomes_a_file_with_the_inputs_of_its_tflite_file(runtime, job, settings, place, tmp_path):
    asked = replace(job(CLASSIFIER), precisions=(), formats=(runtime.artifact_format,))
    with run(asked, settings, place) as outcome:
        (artifact,) = outcome.artifacts
        assert (artifact.format, artifact.path.name) == (runtime.artifact_format, f"fp32.{artifact.format}")
        assert [(t.name, t.shape, t.dtype) for t in artifact.inputs] == [("args_0", (1, 8, 8, 3), "float32")]
        assert [(t.name, t.shape, t.dtype) for t in artifact.outputs] == [("output_0", (1, 4), "float32")]
        assert (artifact.parity.state, artifact.parity.top1_agrees) == ("ok", True)
        assert artifact.operators[OPERATORS[runtime.artifact_format]] >= 1
        (tmp_path / "input").write_bytes(raw_bytes(seeded_input((1, 8, 8, 3), "float32", 0)))
        session = open_session(SessionRequest(runtime.backend, str(artifact.path), 1))
        session.load()
        session.prepare()
        session.fill([str(tmp_path / "input")])
        session.invoke()
        (again,) = session.outputs()
        kept = from_raw_bytes(artifact.reference_outputs[0].read_bytes(), (1, 4), "float32")
    np.testing.assert_allclose(kept, again.value, rtol=1e-6)


def test_a_file_computes_the_same_in_every_run(runtime, job, settings, place, tmp_path):
    """Runtimes may plan an input's memory for later results, and runs read inputs that were set once."""
    code = network("return torch.cumsum(torch.flip(torch.cumsum(x, 3) * 2, (3,)), 3)")
    asked = replace(job(code), precisions=(), formats=(runtime.artifact_format,))
    with run(asked, settings, place) as outcome:
        (artifact,) = outcome.artifacts
        (tmp_path / "input").write_bytes(raw_bytes(seeded_input(artifact.inputs[0].shape, "float32", 0)))
        session = open_session(SessionRequest(runtime.backend, str(artifact.path), 1))
        session.load()
        session.prepare()
        session.fill([str(tmp_path / "input")])
        results = []
        for _ in range(3):
            session.invoke()
            results.append([output.value.copy() for output in session.outputs()])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_scalar_output_stays_one(runtime, job, settings, place):
    asked = replace(job(network("return x.sum()")), precisions=(), formats=(runtime.artifact_format,))
    with run(asked, settings, place) as outcome:
        (artifact,) = outcome.artifacts
    assert [tensor.shape for tensor in artifact.outputs] == [()]
    assert artifact.parity.state == "ok"


class Returning(torch.nn.Module):
    """Returns its inputs, one of them twice."""

    def forward(self, x, y):
        return x * 2, x, y, x


def test_executorch_returns_inputs_as_they_are(tmp_path):
    program = torch.export.export(Returning(), (torch.zeros(1, 4), torch.zeros(2)))
    pte, path = formats.FORMATS[ArtifactFormat.PTE], tmp_path / "fp32.pte"
    pte.export(program, None, path)
    x, y = np.arange(4, dtype="float32")[None], np.ones(2, "float32")
    artifact = pte.opened(path, 1)
    for _ in range(2):
        for made, wanted in zip(artifact.run((x, y)), (x * 2, x, y, x), strict=True):
            np.testing.assert_array_equal(made, wanted)


def test_all_files_are_stored_and_each_is_measured_on_its_backends(cluster, store, convert, monkeypatch):
    assert convert(cluster.submit("tiny", name="night", backends=ALL).id) is Outcome.DONE
    artifacts = {row["path"].rpartition(".")[2]: row for row in cluster.rows("SELECT * FROM artifact")}
    assert set(artifacts) == {"tflite", *FORMATS}
    for each in FORMATS:
        row = artifacts[each]
        assert store.fetch(row["path"]).stat().st_size == row["size_bytes"]
        assert row["converter"] == cache_key.format_tag(each)
        assert row["parity_state"] == "ok"
    rows = cluster.rows(
        "SELECT to_jsonb(a) AS artifact FROM benchmark b JOIN artifact a ON a.id = artifact_id"
    )
    measured_on = {
        row["artifact"]["path"].rpartition(".")[2]: backends_of(row | {"backends": ALL}) for row in rows
    }
    of_formats = {each: [runtime.backend] for each, runtime in RUNTIME_OF_FORMAT.items()}
    assert measured_on == {"tflite": [Backend.CPU]} | of_formats

    monkeypatch.setattr(module, "convert", None)
    only = cluster.submit("tiny", name="others", backends=ALL[1:]).id
    assert convert(only) is Outcome.DONE
    (progress,) = queries.campaigns(cluster.engine, "others")
    assert (progress.converted, progress.from_cache, progress.benchmarks_queued) == (1, 1, len(FORMATS))


def test_without_the_extra_a_format_is_refused_and_tried_again_once_it_is_there(
    runtime, cluster, convert, monkeypatch
):
    artifact_format = runtime.artifact_format
    known = cache_key.format_tag(artifact_format)
    without = replace(runtime, exporters=("torch", "what-nobody-has"))
    monkeypatch.setitem(cache_key.RUNTIME_OF_FORMAT, artifact_format, without)
    cache_key.format_tag.cache_clear()
    assert cache_key.format_tag(artifact_format) == "none; what-nobody-has not installed"
    campaign = cluster.submit("tiny", name="night", backends=(Backend.CPU, runtime.backend)).id
    assert convert(campaign) is Outcome.DONE
    (failure,) = queries.failures(cluster.engine, "night")
    assert (failure["precision"], failure["state"]) == (artifact_format, "refused")
    assert f"install the extra {runtime.extra}" in failure["reason"]
    (row,) = cluster.rows("SELECT converter FROM refused_precision")
    monkeypatch.undo()
    cache_key.format_tag.cache_clear()
    assert cache_key.format_tag(artifact_format) == known != row["converter"]
    assert len(cluster.rows("SELECT FROM benchmark")) == 1


def test_a_crash_of_an_exporter_costs_its_format_only(job, settings, place, monkeypatch):
    crashing, *others = FORMATS
    crashing_export = replace(
        formats.FORMATS[crashing], export=lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
    )
    monkeypatch.setitem(formats.FORMATS, crashing, crashing_export)
    with run(replace(job(CLASSIFIER), formats=FORMATS), settings, place) as outcome:
        made = [(artifact.precision, artifact.format) for artifact in outcome.artifacts]
        (refused,) = outcome.refused
    assert made == [(Precision.FP32, ArtifactFormat.TFLITE), *((Precision.FP32, each) for each in others)]
    assert (refused.format, refused.failure_class) == (crashing, "converter")
    assert refused.reason == f"the export to .{crashing} crashes (SIGSEGV)"


def test_an_operator_without_a_kernel_in_executorch_is_named(job, settings, place):
    code = network("return torch.sort(x, 3)[0]")
    with run(replace(job(code), precisions=(), formats=(ArtifactFormat.PTE,)), settings, place) as outcome:
        (refused,) = outcome.refused
    assert refused.reason.startswith("ExecuTorch has no kernel for aten::sort")
