"""What the quantizer does in less time gives the same values."""

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.algorithms.uniform_quantize import common_quantize, uniform_quantize_tensor

from nnlite_conversion.pipeline.quantizing import fast_quantizing as fast


@pytest.mark.parametrize("shape", [(7, 30), (7, 3, 3, 5), (1, 3, 3, 20)])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("zero", [0, 3])
def test_weights_quantized_in_parts_are_those_of_the_whole(monkeypatch, shape, axis, zero):
    monkeypatch.setattr(fast, "PART_BYTES", 256)
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    steps = (1,) * len(shape) if axis is None else (shape[axis],)
    parameters = qtyping.UniformQuantParams(
        num_bits=8,
        quantized_dimension=None if axis is None else axis % len(shape),
        scale=np.linspace(0.01, 0.03, max(steps), dtype=np.float32).reshape(steps),
        zero_point=np.full(steps, zero, np.int32),
    )
    whole = uniform_quantize_tensor.uniform_quantize(weights, parameters)

    in_parts = fast._in_parts(uniform_quantize_tensor, {})
    parts = in_parts(weights, parameters)

    np.testing.assert_array_equal(parts, whole)
    assert parts.dtype == np.int8 and len(np.unique(parts)) > 20
    assert in_parts(weights, parameters) is parts
    other = replace(parameters, scale=parameters.scale * 2)
    np.testing.assert_array_equal(
        in_parts(weights, other), uniform_quantize_tensor.uniform_quantize(weights, other)
    )


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32),
        np.array([[1, -np.inf, 2]], np.float32),
        np.array([np.inf, 3e38, 0, -1], np.float32),
        np.array([-np.inf], np.float32),
        np.array([np.nan, 1], np.float32),
        np.array(2, np.float32),
        np.float32(2),
        np.int32(-3),
        np.array([[3, -7]], np.int32),
        np.array([True, False]),
    ],
)
def test_ends_of_values_are_those_of_the_quantizer(values):
    original = common_quantize.get_activation_min_max
    limits = {"valid_float_range_min": -3e38, "valid_float_range_max": 3e38}
    expected = original(values, **limits)
    ends = fast._ends_once(original)

    ends(values, **limits)["num_samples"] = 1
    found = ends(values, **limits)

    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_half_precision_is_that_of_numpy():
    chosen = [
        0,
        -0.0,
        1e-8,
        6e-8,
        -3e-5,
        65504,
        65519.9,
        65520,
        -1e9,
        np.inf,
        -np.inf,
        1 + 2**-11,
        1 + 3 * 2**-11,
    ]
    drawn = np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    weights = np.concatenate([np.array(chosen, np.float32), drawn[~np.isnan(drawn)]])

    halves = weights.view(fast._Halved).astype(np.float16)

    np.testing.assert_array_equal(halves.view(np.uint16), weights.astype(np.float16).view(np.uint16))
