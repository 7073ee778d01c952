"""The weight cache's file: in memory where there is room, and gone at the end."""

from types import SimpleNamespace

import psutil
import pytest

from nnlite_benchmark.host.weight_cache import weight_cache


@pytest.mark.parametrize(("available", "in_memory"), [(400, True), (399, False)])
def test_a_cache_is_in_memory_where_there_is_room_for_four_artifacts(
    available, in_memory, tmp_path, monkeypatch
):
    artifact = tmp_path / "model.tflite"
    artifact.write_bytes(bytes(100))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))

    with weight_cache(artifact) as cache:
        cache.write_bytes(b"packed")
        assert cache.read_bytes() == b"packed"
        assert cache.is_relative_to("/proc") is in_memory
    assert not cache.exists()
