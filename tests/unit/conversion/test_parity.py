"""Parity: differences relative to the output range, limits by precision, values that are not finite."""

import numpy as np
import pytest

from nnlite.vocabulary import Precision
from nnlite_conversion.pipeline.verifying.parity import judge


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


def test_nan_at_another_position_fails():
    nan = float("nan")

    assert judge(Precision.FP32, [row(nan, 1, 2)], [row(nan, 1, 2)]).ok
    parity = judge(Precision.FP32, [row(nan, 1, 2)], [row(1, nan, 2)])
    assert not parity.ok and "NaN" in parity.reason and parity.max_abs is None


def test_infinities_of_opposite_sign_fail():
    assert not judge(Precision.FP32, [row(np.inf, 1)], [row(-np.inf, 1)]).ok


def test_different_shapes_fail_with_both_shapes():
    parity = judge(Precision.FP32, [row(1, 2)], [row(1, 2, 3)])

    assert not parity.ok and "(1, 3)" in parity.reason and "(1, 2)" in parity.reason


def test_first_class_and_cosine_are_recorded():
    agreeing = judge(Precision.FP32, [row(0, 3, 1)], [row(0, 2.9, 1)])
    flipped = judge(Precision.FP32, [row(0, 3, 2.9)], [row(0, 2.9, 3)])

    assert agreeing.top1_agrees is True and flipped.top1_agrees is False
    assert agreeing.cosine == pytest.approx(1, abs=1e-3)
    assert judge(Precision.FP32, [np.zeros((1, 2, 2))], [np.zeros((1, 2, 2))]).top1_agrees is None


def noisy(share):
    """An output of power 1 and the same with noise of `share` of its power."""
    expected = row(*([1.0, -1.0] * 50))
    return [expected], [expected + np.float32(share**0.5) * row(*([1.0, 1.0] * 50))]


@pytest.mark.parametrize(
    ("precision", "decibels", "ok"),
    [
        (Precision.DYNAMIC, 20.5, True),
        (Precision.DYNAMIC, 19.5, False),
        (Precision.INT8, 10.5, True),
        (Precision.INT8, 9.5, False),
    ],
)
def test_integer_precisions_are_judged_by_signal_to_noise_ratio(precision, decibels, ok):
    parity = judge(precision, *noisy(10 ** (-decibels / 10)))

    assert parity.sqnr_db == pytest.approx(decibels, abs=0.01) and parity.ok is ok
    assert ok or parity.reason.startswith(f"signal to quantization noise is {decibels} dB, limit")


def test_ratio_is_taken_over_samples_and_difference_over_the_seeded_input():
    good, bad = noisy(1e-4), noisy(0.5)

    parity = judge(Precision.INT8, *bad, samples=[good, good])

    assert parity.ok and parity.samples == 2
    assert parity.sqnr_db == pytest.approx(40, abs=0.1)
    assert parity.relative == pytest.approx(0.5**0.5 / 2, rel=1e-3)


def test_measures_without_noise_or_signal_are_finite_or_none():
    assert judge(Precision.INT8, [row(1, 2)], [row(1, 2)]).sqnr_db == 200
    assert judge(Precision.INT8, [row(0, 0)], [row(0, 0)]).sqnr_db is None
    huge = judge(Precision.FP32, [row(7e30, 1e30)], [row(7e30, 1e30)])
    assert (huge.sqnr_db, huge.cosine) == (200, pytest.approx(1))


def test_top1_agreement_has_a_limit_for_trained_weights_only():
    right, wrong = ([row(0, 3, 1)], [row(0, 2.9, 1)]), ([row(0, 3, 2.9)], [row(0, 2.9, 3)])
    samples = [right] * 9 + [wrong]

    untrained = judge(Precision.INT8, *right, samples=samples)
    trained = judge(Precision.INT8, *right, samples=samples, trained=True)

    assert untrained.ok and untrained.top1_agreement == 0.9
    assert not trained.ok and trained.reason == "the same class is first for 90.0% of the samples, limit 95%"


def test_nan_in_one_sample_fails():
    nan = float("nan")
    parity = judge(Precision.INT8, [row(0, 1)], [row(0, 1)], samples=[([row(0, 1)], [row(nan, 1)])])

    assert not parity.ok and "NaN" in parity.reason
