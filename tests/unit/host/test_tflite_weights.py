"""Weights that are after a flatbuffer are put into it, with the same values."""

import random

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from android_app.outside import weights_outside
from nnlite.host.tflite_weights import weights_inside
from nnlite_benchmark.protocol.canary import MODEL_FILE

pytestmark = pytest.mark.process


@pytest.fixture
def outside(tmp_path):
    """The canary with weights after its flatbuffer."""
    return weights_outside(MODEL_FILE, tmp_path / "outside.tflite")


def buffers(file):
    model = schema.Model.GetRootAs(file.read_bytes(), 0)
    return [model.Buffers(index) for index in range(model.BuffersLength())]


def test_weights_are_the_same_and_aligned(outside, tmp_path):
    before = outside.read_bytes()
    copy = weights_inside(outside, tmp_path / "copy.tflite")
    assert outside.read_bytes() == before
    assert any(buffer.Offset() > 1 for buffer in buffers(outside))
    for buffer, original in zip(buffers(copy), buffers(MODEL_FILE), strict=True):
        assert (buffer.Offset(), buffer.Size()) == (0, 0)
        np.testing.assert_array_equal(buffer.DataAsNumpy(), original.DataAsNumpy())
    for buffer, moved in zip(buffers(copy), buffers(outside), strict=True):
        if moved.Offset() > 1:
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0


def test_a_file_without_such_weights_stays_as_it_is(tmp_path):
    copy = tmp_path / "copy.tflite"
    assert weights_inside(MODEL_FILE, copy) == MODEL_FILE
    for content in (b"", b"text", b"\x08\0\0\0TFL3", bytes(100)):
        (tmp_path / "a.tflite").write_bytes(content)
        assert weights_inside(tmp_path / "a.tflite", copy) == tmp_path / "a.tflite"
    assert not copy.exists()


def test_broken_files_are_left_to_the_runtime(outside, tmp_path):
    original, file = outside.read_bytes(), tmp_path / "broken.tflite"
    file.write_bytes(original[:-1])
    assert weights_inside(file, tmp_path / "copy.tflite") == file, "a weight is not all there"
    choose = random.Random(0)
    for _ in range(200):
        content = bytearray(original)
        for _ in range(20):
            content[choose.randrange(len(original) // 20)] = choose.randrange(256)
        file.write_bytes(content)
        copy = weights_inside(file, tmp_path / "copy.tflite")
        assert copy.stat().st_size < 2 * len(original)
