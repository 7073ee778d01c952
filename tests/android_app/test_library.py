"""The APK's own TensorFlow Lite library on this host: what it computes, and how it refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from android_app.runtime_match import LIBRARY
from android_app.test_runtime_match import too_new
from apk.lock import properties
from nnlite.artifacts.inputs import raw_bytes, seeded_input
from nnlite.host.tflite_library import LIBRARY as TFLITE
from nnlite.host.tflite_library import SHIM, RefusedError, TfliteInterpreter, TfliteLibrary
from nnlite_benchmark.protocol import canary

__all__ = ["too_new"]
INPUT = raw_bytes(seeded_input(canary.INPUT_SHAPE, "float32", canary.SEED))


@pytest.fixture(scope="module")
def library() -> TfliteLibrary:
    return TfliteLibrary(LIBRARY)


def test_the_library_computes_what_the_host_computes(library):
    interpreter = TfliteInterpreter(library, canary.MODEL_FILE)
    interpreter.allocate()
    interpreter.fill([INPUT])
    interpreter.invoke()

    (output,) = interpreter.outputs()
    (expects,) = interpreter.inputs()

    assert (expects.dtype, expects.shape, expects.scale) == ("float32", canary.INPUT_SHAPE, 0.0)
    assert library.version == properties()["tflite"]
    assert (output.dtype, output.shape) == ("float32", canary.OUTPUT_SHAPE)
    expected = np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4")
    assert np.frombuffer(output.data, "<f4") == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_an_operator_that_it_does_not_know_is_refused_in_its_own_words(library, too_new):
    with pytest.raises(RefusedError, match="for builtin opcode 'RESIZE_BILINEAR' version '99'"):
        TfliteInterpreter(library, too_new[0])


def test_a_library_without_its_functions_cannot_be_loaded(tmp_path):
    """Of another version, or another file of its name."""
    for name in SHIM:
        shutil.copy(LIBRARY / name, tmp_path)
    shutil.copy(LIBRARY / "liblog.so", tmp_path / TFLITE)
    with pytest.raises(OSError, match="undefined symbol: TfLiteVersion"):
        TfliteLibrary(tmp_path)


def test_a_file_that_is_no_artifact_is_refused(library, tmp_path):
    (tmp_path / "text.tflite").write_text("nothing")
    with pytest.raises(RefusedError, match=r"not a|no artifact|invalid|identifier|buffer"):
        TfliteInterpreter(library, tmp_path / "text.tflite")
    with pytest.raises(RefusedError, match="Could not open"):
        TfliteInterpreter(library, Path("/nowhere/a.tflite"))


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([], "the artifact has 1 inputs, 0 were given"),
        ([INPUT[:-4]], rf"has {len(INPUT)} bytes; {len(INPUT) - 4} were given"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_both_sizes(library, inputs, says):
    interpreter = TfliteInterpreter(library, canary.MODEL_FILE)
    interpreter.allocate()
    with pytest.raises(RefusedError, match=says):
        interpreter.fill(inputs)
