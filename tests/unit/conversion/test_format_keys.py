"""Keys of files in formats besides `.tflite`, which must not change between releases."""

from collections.abc import Iterator

import pytest

from nnlite.vocabulary import ArtifactFormat
from nnlite_conversion import cache_key

KEYS = {
    ArtifactFormat.ONNX: (
        "torch 1, onnx 1, onnxscript 1, onnxruntime 1, nnlite 1",
        "1e4d2896bee1312f71f91ecffd17f79582f0206ab4efd8787f2f262e803faf10",
    ),
    ArtifactFormat.PTE: (
        "torch 1, executorch 1, nnlite 1",
        "91a86562925280ac2234a3e6eea18e2710a3015030f13cfaf7f37a55a18b989e",
    ),
}


@pytest.fixture(autouse=True)
def versions(monkeypatch) -> Iterator[None]:
    """Version 1 of every distribution."""
    cache_key.format_tag.cache_clear()
    monkeypatch.setattr(cache_key, "distributions", lambda name: [name])
    monkeypatch.setattr(cache_key, "version", lambda name: "1")
    yield
    cache_key.format_tag.cache_clear()


@pytest.mark.parametrize("artifact_format", KEYS)
def test_a_key_is_of_the_model_the_format_and_the_versions_of_what_makes_it(artifact_format):
    tag, key = KEYS[artifact_format]
    assert cache_key.format_tag(artifact_format) == tag
    assert cache_key.format_key("identity", artifact_format) == key
