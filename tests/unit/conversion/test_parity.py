"""Parity is judged relative to the range of the output, and never hides what is not finite."""

import numpy as np
import pytest

from nnlite.vocabulary import Precision
from nnlite_conversion.parity import judge


def row(*values):
    return np.array([values], dtype=np.float32)


@pytest.mark.parametrize("scale", [1e-13, 1.0, 7e11])
def test_the_same_relative_difference_is_judged_alike_at_every_scale(scale):
    expected = row(0.0, 0.5, 1.0) * np.float32(scale)

    near = judge(Precision.FP32, [expected], [expected + np.float32(5e-4 * scale)])
    far = judge(Precision.FP32, [expected], [expected + np.float32(5e-3 * scale)])

    assert near.ok and near.relative == pytest.approx(5e-4, rel=0.01)
    assert not far.ok and "limit 0.001" in far.reason


def test_a_constant_output_is_compared_absolutely():
    parity = judge(Precision.FP32, [row(2.0, 2.0)], [row(2.0, 2.01)])

    assert (parity.range, parity.ok) == (0.0, False)
    assert parity.relative == pytest.approx(0.01, rel=1e-4)


def test_the_worst_output_decides():
    parity = judge(Precision.FP32, [row(0, 1), row(0, 100)], [row(0, 1.5), row(0, 100)])

    assert (parity.max_abs, parity.range, parity.relative) == (0.5, 1.0, 0.5)


def test_not_a_number_at_another_place_is_off():
    nan = float("nan")

    assert judge(Precision.FP32, [row(nan, 1, 2)], [row(nan, 1, 2)]).ok
    parity = judge(Precision.FP32, [row(nan, 1, 2)], [row(1, nan, 2)])
    assert not parity.ok and "NaN" in parity.reason and parity.max_abs is None


def test_infinities_of_opposite_sign_are_off():
    assert not judge(Precision.FP32, [row(np.inf, 1)], [row(-np.inf, 1)]).ok


def test_another_shape_is_off_with_both_shapes():
    parity = judge(Precision.FP32, [row(1, 2)], [row(1, 2, 3)])

    assert not parity.ok and "(1, 3)" in parity.reason and "(1, 2)" in parity.reason


def test_first_class_and_cosine_are_recorded():
    agreeing = judge(Precision.FP32, [row(0, 3, 1)], [row(0, 2.9, 1)])
    flipped = judge(Precision.FP32, [row(0, 3, 2.9)], [row(0, 2.9, 3)])

    assert agreeing.top1_agrees is True and flipped.top1_agrees is False
    assert agreeing.cosine == pytest.approx(1, abs=1e-3)
    assert judge(Precision.FP32, [np.zeros((1, 2, 2))], [np.zeros((1, 2, 2))]).top1_agrees is None
