"""Device parity: the limits, and differences that always fail."""

import numpy as np
import pytest

from nnlite.vocabulary import Backend, Precision
from nnlite_benchmark.protocol.analysis.parity import SHAPE_RULE, device_parity


@pytest.fixture
def expected():
    return np.linspace(-1, 1, 1000, dtype=np.float32)  # a range of 2


def parity(expected, got, precision=Precision.FP32, backend=Backend.CPU):
    return device_parity([expected], [got], precision, backend)


@pytest.mark.parametrize(
    ("precision", "backend", "ratio", "ok"),
    [
        (Precision.FP32, Backend.CPU, 0.9e-4, True),
        (Precision.FP32, Backend.CPU, 1.2e-4, False),
        (Precision.FP32, Backend.GPU, 0.9e-3, True),
        (Precision.FP32, Backend.GPU, 1.2e-3, False),
        (Precision.FP16, Backend.CPU, 1.9e-2, True),
        (Precision.FP16, Backend.GPU, 2.1e-2, False),
        (Precision.DYNAMIC, Backend.CPU, 1.9e-2, True),
        (Precision.DYNAMIC, Backend.CPU, 2.1e-2, False),
    ],
)
def test_float_outputs_are_judged_relative_to_their_range(expected, precision, backend, ratio, ok):
    got = expected.copy()
    got[500] += 2 * ratio

    result = parity(expected, got, precision, backend)

    assert result.ok is ok
    assert result.worst == pytest.approx(ratio, rel=0.01)


def test_the_scale_of_the_outputs_does_not_matter(expected):
    assert parity(expected * np.float32(1e-13), expected * np.float32(1.00001e-13)).ok
    assert not parity(expected * np.float32(7e11), expected * np.float32(7.01e11)).ok


def test_a_constant_output_is_compared_absolutely():
    flat = np.full(10, 0.5, np.float32)

    assert parity(flat, flat + np.float32(5e-5)).ok
    assert not parity(flat, flat + np.float32(5e-4)).ok


@pytest.mark.parametrize(("steps", "elements", "ok"), [(2, 1000, True), (3, 10, True), (3, 11, False)])
def test_integer_outputs_may_differ_by_two_steps_and_one_percent_by_more(steps, elements, ok):
    expected = np.zeros(1000, np.int8)
    got = expected.copy()
    got[:elements] = steps

    assert parity(expected, got, Precision.INT8).ok is ok


def test_unsigned_outputs_do_not_wrap_around():
    assert not parity(np.zeros(10, np.uint8), np.full(10, 254, np.uint8), Precision.INT8).ok


def test_a_nan_on_one_side_only_fails(expected):
    broken = expected.copy()
    broken[3] = np.nan

    assert not parity(expected, broken).ok
    assert parity(expected, broken).worst is None
    assert parity(broken, broken).ok


def test_infinities_must_have_the_same_sign(expected):
    up, down = expected.copy(), expected.copy()
    up[0], down[0] = np.inf, -np.inf

    assert parity(up, up).ok
    assert not parity(up, down).ok


@pytest.mark.parametrize(
    "got",
    [[], [np.zeros(3, np.float32)], [np.zeros((4, 1), np.float32)], [np.zeros(4, np.float64)]],
    ids=["number", "length", "shape", "type"],
)
def test_a_difference_in_number_shape_or_type_fails(got):
    result = device_parity([np.zeros(4, np.float32)], got, Precision.FP32, Backend.CPU)

    assert (result.ok, result.rule) == (False, SHAPE_RULE)


def test_the_worst_of_several_outputs_counts(expected):
    off = expected + np.float32(0.1)

    result = device_parity([expected, expected], [expected, off], Precision.FP32, Backend.CPU)

    assert not result.ok
    assert result.worst == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize(("steps", "elements", "ok"), [(2, 1000, True), (3, 10, True), (3, 11, False)])
def test_dequantized_floats_are_compared_in_steps(steps, elements, ok):
    # Of four steps of range, two percent would be less than one.
    expected = np.resize(np.arange(4, dtype=np.float32) * np.float32(0.1), 1000)
    got = expected.copy()
    got[:elements] += np.float32(0.1 * steps)

    result = device_parity([expected], [got], Precision.INT8, Backend.CPU, [0.1])

    assert result.ok is ok
    assert not device_parity([expected], [got], Precision.INT8, Backend.CPU, [None]).ok


def test_a_nan_in_a_dequantized_output_fails():
    got = np.full(1000, np.nan, np.float32)
    assert not device_parity([np.zeros(1000, np.float32)], [got], Precision.INT8, Backend.CPU, [0.1]).ok
