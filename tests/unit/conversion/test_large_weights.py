"""Large weights are quantized in parts, to the same values."""

import numpy as np
import pytest
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

from nnlite_conversion.pipeline.quantizing import large_weights


@pytest.mark.parametrize("shape", [(7, 30), (7, 3, 3, 5), (1, 3, 3, 20)])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_the_values_are_those_of_the_whole(monkeypatch, shape, axis):
    monkeypatch.setattr(large_weights, "MAX_BYTES", 256)
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    steps = (1,) * len(shape) if axis is None else (shape[axis],)
    parameters = qtyping.UniformQuantParams(
        num_bits=8,
        quantized_dimension=None if axis is None else axis % len(shape),
        scale=np.linspace(0.01, 0.03, max(steps), dtype=np.float32).reshape(steps),
        zero_point=np.zeros(steps, np.int32),
    )
    whole = uniform_quantize_tensor.uniform_quantize(weights, parameters)

    with large_weights.in_rows():
        parts = uniform_quantize_tensor.uniform_quantize(weights, parameters)

    np.testing.assert_array_equal(parts, whole)
    assert parts.dtype == np.int8 and len(np.unique(parts)) > 20
