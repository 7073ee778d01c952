"""The seeded input is the same everywhere, for ever."""

import numpy as np
import pytest

from nnlite.inputs import from_raw_bytes, raw_bytes, seeded_input


def test_its_values_never_change():
    first = seeded_input((1, 2, 1, 2), "float32", seed=0).ravel().tolist()

    assert first == [0.27392327785491943, -0.4604266881942749, -0.9180530309677124, -0.9669448137283325]


def test_a_seed_gives_one_input_and_another_seed_another():
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
def test_values_fill_the_range_that_the_dtype_promises(dtype, low, high):
    tensor = seeded_input((5000,), dtype)

    assert tensor.dtype == dtype
    assert low <= tensor.min() <= low + (high - low) * 0.01
    assert high - (high - low) * 0.01 <= tensor.max() <= high


def test_a_dtype_without_a_rule_is_refused_by_name():
    with pytest.raises(ValueError, match="complex64"):
        seeded_input((1,), "complex64")


@pytest.mark.parametrize("dtype", ["float32", "int8", ">f4"])
def test_raw_bytes_are_little_endian_and_come_back(dtype):
    tensor = seeded_input((2, 3), "float32").astype(dtype)

    raw = raw_bytes(tensor)

    assert raw == tensor.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    assert np.array_equal(from_raw_bytes(raw, (2, 3), dtype), tensor)


def test_bytes_of_another_length_are_refused_with_both_lengths():
    with pytest.raises(ValueError, match=r"11 bytes for a float32 tensor.*expected 12"):
        from_raw_bytes(b"\0" * 11, (3,), "float32")
