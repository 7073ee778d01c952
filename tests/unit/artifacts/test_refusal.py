"""The operator that a runtime refuses is read from its error message."""

import pytest

from nnlite.artifacts.refusal import refused_operator

# As TensorFlow Lite 2.16.2 says them.
NEWER = (
    "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'. An older version of this builtin "
    "might be supported. Are you using an old TFLite binary with a newer model?\nRegistration failed.\n"
)
CUSTOM = "Encountered unresolved custom op: Foo.\nSee instructions: https://www.tensorflow.org/lite/guide/ops_custom"
UNKNOWN = "Op builtin_code out of range: 207. Are you using old TFLite binary with newer model?"
PREPARE = """tensorflow/lite/kernels/conv.cc:354 input->type != filter->type (INT8 != INT4)\
Node number 3 (CONV_2D) failed to prepare."""


@pytest.mark.parametrize(
    ("message", "operator"),
    [
        (NEWER, ("FULLY_CONNECTED", 12)),
        (CUSTOM, ("Foo", None)),
        (UNKNOWN, ("builtin_code 207", None)),
        (PREPARE, ("CONV_2D", None)),
        ("Could not open 'x.tflite'.", (None, None)),
    ],
)
def test_the_operator_and_its_version_are_found_where_they_are_named(message, operator):
    assert refused_operator(message) == operator
