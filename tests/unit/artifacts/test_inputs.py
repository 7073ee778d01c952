"""Seeded inputs: equal on every machine and in every version, little-endian, quantized for integer inputs."""

import numpy as np
import pytest

from nnlite.artifacts.inputs import (
    artifact_inputs,
    dequantized,
    from_raw_bytes,
    quantized,
    raw_bytes,
    seeded_input,
)
from nnlite_benchmark.device import InputSpec


def test_seeded_values_never_change():
    first = seeded_input((1, 2, 1, 2), "float32", seed=0).ravel().tolist()

    assert first == [0.27392327785491943, -0.4604266881942749, -0.9180530309677124, -0.9669448137283325]


def test_equal_seeds_give_equal_inputs_and_different_seeds_different_ones():
    assert np.array_equal(seeded_input((8,), "float32", 3), seeded_input((8,), "float32", 3))
    assert not np.array_equal(seeded_input((8,), "float32", 3), seeded_input((8,), "float32", 4))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", -1, 1),
        ("float16", -1, 1),
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int32", 0, 1),
        ("bool", 0, 1),
    ],
)
def test_values_cover_the_range_of_their_dtype(dtype, low, high):
    tensor = seeded_input((5000,), dtype)

    assert tensor.dtype == dtype
    assert low <= tensor.min() <= low + (high - low) * 0.01
    assert high - (high - low) * 0.01 <= tensor.max() <= high


def test_unsupported_dtype_is_named():
    with pytest.raises(ValueError, match="complex64"):
        seeded_input((1,), "complex64")


@pytest.mark.parametrize("dtype", ["float32", "int8", ">f4"])
def test_raw_bytes_are_little_endian_and_round_trip(dtype):
    tensor = seeded_input((2, 3), "float32").astype(dtype)

    raw = raw_bytes(tensor)

    assert raw == tensor.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    assert np.array_equal(from_raw_bytes(raw, (2, 3), dtype), tensor)


def test_wrong_number_of_bytes_is_reported_with_both_lengths():
    with pytest.raises(ValueError, match=r"11 bytes for a float32 tensor.*expected 12"):
        from_raw_bytes(b"\0" * 11, (3,), "float32")


def test_quantization_rounds_to_nearest_and_saturates():
    values = np.array([-1, 0, 0.26, 0.24, 99], np.float32)

    integers = quantized(values, "int8", 0.5, -3)

    assert integers.tolist() == [-5, -3, -2, -3, 127] and integers.dtype == np.int8
    assert dequantized(integers, 0.5, -3).tolist() == [-1, 0, 0.5, 0, 65]


def test_integer_input_gets_the_quantized_values_of_the_float_input():
    specs = [InputSpec(name="a", shape=(4,), dtype="int8", quantization=(0.01, 5))]
    specs += [InputSpec(name="b", shape=(4,), dtype="int8"), InputSpec(name="c", shape=(4,), dtype="float32")]

    quantized_one, indices, plain = artifact_inputs(specs, seed=3)

    assert (
        np.abs(dequantized(quantized_one, 0.01, 5) - seeded_input((4,), "float32", 3)).max() <= 0.005 + 1e-9
    )
    assert np.array_equal(indices, seeded_input((4,), "int8", 4))
    assert np.array_equal(plain, seeded_input((4,), "float32", 5))
