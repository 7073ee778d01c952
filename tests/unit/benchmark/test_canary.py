"""The canary's files are those that its generator writes."""

import pytest

from make_canary import GATE_LAYERS, GATE_SIDE, build, expected
from nnlite_benchmark.protocol.canary import EXPECTED_FILE, GATE_FILE, MODEL_FILE

pytestmark = pytest.mark.process


def test_the_generator_writes_the_committed_files():
    model = build()
    assert model == MODEL_FILE.read_bytes()
    assert expected(model) == EXPECTED_FILE.read_bytes()
    assert build(GATE_SIDE, GATE_LAYERS) == GATE_FILE.read_bytes()
