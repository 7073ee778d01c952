"""Formats besides `.tflite`: a network's file, its parity, the cache, and what is measured of it."""

from dataclasses import replace

import numpy as np
import pytest

from integration.conversion.models import CLASSIFIER
from integration.conversion.test_conversion import run
from integration.conversion.test_converter import convert, store
from nnlite.artifacts.inputs import from_raw_bytes, seeded_input
from nnlite.backends import HOST_RUNTIMES
from nnlite.results import queries
from nnlite.vocabulary import ArtifactFormat, Backend
from nnlite.worker.attempt import Outcome
from nnlite_benchmark.jobs import backends_of
from nnlite_conversion import cache_key
from nnlite_conversion import converter as module

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
# The exporter of PyTorch warns of its own use of itself.
pytestmark = pytest.mark.filterwarnings("ignore")

__all__ = ["convert", "store"]
BOTH = (Backend.CPU, Backend.ONNXRUNTIME)


def test_a_network_becomes_an_onnx_file_with_the_inputs_of_its_tflite_file(job, settings, place):
    with run(
        replace(job(CLASSIFIER), precisions=(), formats=(ArtifactFormat.ONNX,)), settings, place
    ) as outcome:
        (artifact,) = outcome.artifacts
        assert (artifact.format, artifact.path.name) == (ArtifactFormat.ONNX, "fp32.onnx")
        assert [(t.name, t.shape, t.dtype) for t in artifact.inputs] == [("args_0", (1, 8, 8, 3), "float32")]
        assert [(t.name, t.shape, t.dtype) for t in artifact.outputs] == [("output_0", (1, 4), "float32")]
        assert (artifact.parity.state, artifact.parity.top1_agrees) == ("ok", True)
        assert artifact.operators["Conv"] == 1
        session = onnxruntime.InferenceSession(artifact.path)
        (again,) = session.run(None, {"args_0": seeded_input((1, 8, 8, 3), "float32", 0)})
        kept = from_raw_bytes(artifact.reference_outputs[0].read_bytes(), (1, 4), "float32")
    np.testing.assert_allclose(kept, again, rtol=1e-6)


def test_both_files_are_stored_and_each_is_measured_on_its_backends(cluster, store, convert, monkeypatch):
    assert convert(cluster.submit("tiny", name="night", backends=BOTH).id) is Outcome.DONE
    artifacts = {row["path"].rpartition(".")[2]: row for row in cluster.rows("SELECT * FROM artifact")}
    assert set(artifacts) == {"tflite", "onnx"}
    assert store.fetch(artifacts["onnx"]["path"]).stat().st_size == artifacts["onnx"]["size_bytes"]
    assert artifacts["onnx"]["converter"] == cache_key.format_tag(ArtifactFormat.ONNX)
    assert artifacts["onnx"]["parity_state"] == "ok"
    rows = cluster.rows(
        "SELECT to_jsonb(a) AS artifact FROM benchmark b JOIN artifact a ON a.id = artifact_id"
    )
    measured_on = {
        row["artifact"]["path"].rpartition(".")[2]: backends_of(row | {"backends": BOTH}) for row in rows
    }
    assert measured_on == {"tflite": [Backend.CPU], "onnx": [Backend.ONNXRUNTIME]}

    monkeypatch.setattr(module, "convert", None)
    only = cluster.submit("tiny", name="onnx", backends=(Backend.ONNXRUNTIME,)).id
    assert convert(only) is Outcome.DONE
    (progress,) = queries.campaigns(cluster.engine, "onnx")
    assert (progress.converted, progress.from_cache, progress.benchmarks_queued) == (1, 1, 1)


def test_without_the_extra_onnx_is_refused_and_tried_again_once_it_is_there(cluster, convert, monkeypatch):
    known = cache_key.format_tag(ArtifactFormat.ONNX)
    without = replace(HOST_RUNTIMES[Backend.ONNXRUNTIME], exporters=("torch", "onnx-that-nobody-has"))
    monkeypatch.setitem(cache_key.RUNTIME_OF_FORMAT, ArtifactFormat.ONNX, without)
    cache_key.format_tag.cache_clear()
    assert cache_key.format_tag(ArtifactFormat.ONNX) == "none; onnx-that-nobody-has not installed"
    campaign = cluster.submit("tiny", name="night", backends=BOTH).id
    assert convert(campaign) is Outcome.DONE
    (failure,) = queries.failures(cluster.engine, "night")
    assert (failure["precision"], failure["state"]) == ("onnx", "refused")
    assert "install the extra onnx" in failure["reason"]
    (row,) = cluster.rows("SELECT converter FROM refused_precision")
    monkeypatch.undo()
    cache_key.format_tag.cache_clear()
    assert cache_key.format_tag(ArtifactFormat.ONNX) == known != row["converter"]
    assert len(cluster.rows("SELECT FROM benchmark")) == 1
