"""Parity: outputs and slices of another scale are judged by themselves; limits; what is unknown.

More than 300 lines: one rule after the other of one function, whose helpers they share.
"""

import numpy as np
import pytest

from nnlite.vocabulary import ParityState, Precision
from nnlite_conversion.outcome import Parity, Place
from nnlite_conversion.pipeline.verifying import comparison
from nnlite_conversion.pipeline.verifying.judging import derived
from nnlite_conversion.pipeline.verifying.parity import judge

OK, OFF, UNKNOWN = ParityState.OK, ParityState.OFF, ParityState.UNKNOWN
NAN = float("nan")


def row(*values):
    return np.array([values], dtype=np.float32)


def pair(expected, actual):
    return [expected], [actual]


def judged(precision, *pairs, **options):
    """Judge one output; the first pair belongs to the seeded input, the others to drawn ones."""
    first, *others = pairs
    return judge(precision, first, drawn=others, **options)


#: An input for which any artifact is right, so that outputs depend on the input.
OTHER = pair(row(0.3, 0.2, 0.6), row(0.3, 0.2, 0.6))


@pytest.mark.parametrize("scale", [1e-13, 1.0, 7e11])
def test_the_same_relative_difference_is_judged_alike_at_every_scale(scale):
    expected = row(0.0, 0.5, 1.0) * np.float32(scale)
    other = pair(expected * np.float32(0.7), expected * np.float32(0.7))

    near = judged(Precision.FP32, pair(expected, expected + np.float32(5e-4 * scale)), other)
    far = judged(Precision.FP32, pair(expected, expected + np.float32(5e-3 * scale)), other)

    assert near.state is OK and near.relative == pytest.approx(5e-4, rel=0.01)
    assert (
        far.state is OFF and far.reason == "output 0: largest difference over range is 5.00e-03, limit 0.001"
    )


def test_the_range_is_that_over_all_inputs():
    parity = judged(Precision.FP32, pair(row(2.0), row(2.001)), pair(row(4.0), row(4.0)))

    assert (parity.range, parity.state) == (2.0, OK)
    assert parity.relative == pytest.approx(5e-4, rel=1e-3)


def test_the_worst_output_decides_and_is_named():
    outputs = [row(0, 1, 0), row(0, 100, 0)], [row(0, 1.5, 0), row(0, 100, 0)]
    parity = judged(Precision.FP32, outputs, ([OTHER[0][0]] * 2, [OTHER[1][0]] * 2))

    assert (parity.max_abs, parity.range, parity.relative) == (0.5, 1.0, 0.5)
    assert parity.worst == Place(output=0)
    assert parity.reason == "output 0: largest difference over range is 5.00e-01, limit 0.001"


def test_nan_at_another_position_fails():
    other = pair(row(1, 0, 5), row(1, 0, 5))

    assert judged(Precision.FP32, pair(row(NAN, 1, 2), row(NAN, 1, 2)), other).state is OK
    parity = judged(Precision.FP32, pair(row(NAN, 1, 2), row(1, NAN, 2)), other)
    assert parity.state is OFF and "NaN" in parity.reason and parity.max_abs is None


def test_infinities_of_opposite_sign_fail():
    assert judged(Precision.FP32, pair(row(np.inf, 1), row(-np.inf, 1))).state is OFF


def test_nan_in_one_sample_fails():
    parity = judge(Precision.INT8, OTHER, [pair(row(0, 1, 2), row(NAN, 1, 2))])

    assert parity.state is OFF and "NaN" in parity.reason


def test_different_shapes_fail_with_both_shapes():
    parity = judged(Precision.FP32, pair(row(1, 2), row(1, 2, 3)))

    assert parity.state is OFF and "(1, 3)" in parity.reason and "(1, 2)" in parity.reason


@pytest.mark.parametrize("value", [NAN, np.inf])
def test_outputs_without_a_finite_value_are_unknown(value):
    nothing = pair(row(value, value), row(value, value))
    parity = judged(Precision.FP32, nothing, nothing)

    assert parity.state is UNKNOWN and parity.reason == "output 0: no value is finite, for any input"
    assert (parity.max_abs, parity.sqnr_db, parity.worst) == (None, None, None)


def test_a_channel_that_is_always_nan_is_unknown():
    first, second = row(1, NAN, 3), row(2, NAN, 5)
    parity = judged(Precision.FP32, pair(first, first), pair(second, second))

    assert parity.state is UNKNOWN
    assert parity.reason == "output 0, axis 1 index 1: every value is NaN, for every input"


def test_an_output_that_is_the_same_for_every_input_is_unknown_unless_it_is_wrong():
    same = pair(row(1, 2, 3), row(1, 2, 3))
    wrong = pair(row(1, 2, 3), row(1, 2, 4))

    assert judged(Precision.FP32, same, same).reason == "output 0: it is the same for every input"
    assert judged(Precision.INT8, same, same).state is UNKNOWN
    assert judged(Precision.FP32, wrong, wrong).state is OFF


def test_one_sample_does_not_tell_whether_an_output_depends_on_the_input():
    same = pair(row(1, 2, 3), row(1, 2, 3))

    assert judge(Precision.INT8, same, [same]).reason == "output 0: it is the same for every input"
    assert judge(Precision.INT8, OTHER, [same]).state is OK
    assert judge(Precision.INT8, OTHER, [same, same]).state is UNKNOWN, "as far as it is judged"


def test_rounding_does_not_make_a_constant_depend_on_the_input():
    nearly = row(1, 2, 3) * np.float32(1 + 2e-7)
    parity = judged(Precision.FP32, pair(row(1, 2, 3), row(1, 2, 3)), pair(nearly, nearly))

    assert parity.state is UNKNOWN


def test_one_dead_output_does_not_hide_that_another_is_wrong():
    zero = row(0, 0)
    lost = [([zero, row(1, -size)], [zero, row(0, 0)]) for size in (1, 2, 3)]
    parity = judge(Precision.INT8, lost[0], lost)

    assert parity.state is OFF and parity.worst == Place(output=1)
    assert parity.reason.split("; ") == [
        "output 1: signal to quantization noise is 0.0 dB, limit 10 dB",
        "output 0: it is the same for every input",
    ]


def test_one_unknown_output_makes_the_state_unknown_and_the_others_are_judged():
    both = [([row(0, 0), row(1, size)], [row(0, 0), row(1.001, size)]) for size in (2, 3)]
    parity = judge(Precision.INT8, both[0], both)

    assert parity.state is UNKNOWN and parity.reason == "output 0: it is the same for every input"
    assert parity.sqnr_db > 60


def test_zeros_that_become_something_else_fail():
    parity = judged(Precision.DYNAMIC, pair(row(0, 0), row(0, 1)), pair(row(0, 0), row(0, 0)))

    assert parity.state is OFF and "differs by 1.00e+00 from zero" in parity.reason


def noisy(share):
    """An output of power 1 and the same with noise of `share` of its power."""
    expected = row(*([1.0, -1.0] * 50))
    return pair(expected, expected + np.float32(share**0.5) * row(*([1.0, 1.0] * 50)))


#: The opposite of `noisy`, without noise.
CLEAN = pair(-noisy(0)[0][0], -noisy(0)[0][0])


@pytest.mark.parametrize(
    ("precision", "decibels", "state"),
    [
        (Precision.DYNAMIC, 20.5, OK),
        (Precision.DYNAMIC, 19.5, OFF),
        (Precision.INT8, 10.5, OK),
        (Precision.INT8, 9.5, OFF),
    ],
)
def test_integer_precisions_are_judged_by_signal_to_noise_ratio(precision, decibels, state):
    parity = judged(precision, noisy(2 * 10 ** (-decibels / 10)), CLEAN)

    assert parity.sqnr_db == pytest.approx(decibels, abs=0.01) and parity.state is state
    assert state is OK or f"signal to quantization noise is {decibels} dB, limit" in parity.reason


def test_int8_is_judged_on_the_samples_alone():
    good, bad = noisy(1e-4), noisy(0.5)

    parity = judge(Precision.INT8, bad, [good, CLEAN], drawn=[bad])
    dynamic = judge(Precision.DYNAMIC, bad, [good, CLEAN], drawn=[bad])

    assert (parity.state, parity.samples, parity.inputs) == (OK, 2, 2)
    assert (dynamic.state, dynamic.samples, dynamic.inputs) == (OFF, 2, 4)


def test_measures_without_noise_or_signal_are_finite_or_none():
    assert judged(Precision.INT8, pair(row(1, 2), row(1, 2))).sqnr_db == 200
    assert judged(Precision.INT8, pair(row(0, 0), row(0, 0))).sqnr_db is None
    huge = judged(Precision.FP32, pair(row(7e30, 1e30), row(7e30, 1e30)))
    assert (huge.sqnr_db, huge.cosine) == (200, pytest.approx(1))


def quantized(values, step):
    return (np.rint(values / step) * step).astype(np.float32)


def over(make, *, count=6, step=1.0, precision=Precision.INT8):
    """Judge an output that is rounded to `step`; `make` gets generators for as many inputs."""
    values = [make(np.random.default_rng(number)).astype(np.float32) for number in range(count)]
    pairs = [pair(value, quantized(value, step)) for value in values]
    return judge(precision, pairs[0], pairs, drawn=pairs, steps=[step])


def detections(chance):
    """Four coordinates in pixels and six scores for each of fifty anchors."""
    return np.concatenate([chance.uniform(0, 640, (1, 4, 50)), chance.uniform(0, 1, (1, 6, 50))], axis=1)


def test_scores_beside_boxes_in_pixels_are_judged_by_themselves():
    parity = over(detections, step=640 / 255)

    assert parity.state is OFF and parity.worst.axis == 1 and parity.worst.index >= 4
    assert parity.reason.startswith(
        f"output 0, axis 1 index {parity.worst.index}: signal to quantization noise"
    )
    assert over(detections, step=0.05).state is OK


def test_anchors_may_come_before_channels():
    parity = over(lambda chance: detections(chance).swapaxes(1, 2), step=640 / 255)

    assert parity.state is OFF and (parity.worst.axis, parity.worst.index >= 4) == (2, True)


def test_slices_of_another_scale_have_their_own_relative_difference():
    def wrong(chance):
        values = detections(chance).astype(np.float32)
        return pair(values, values + np.float32([0.05] * 4 + [0.01] * 6).reshape(1, 10, 1))

    parity = judged(Precision.FP32, *(wrong(np.random.default_rng(number)) for number in range(4)))

    assert parity.state is OFF and parity.worst.axis == 1 and parity.worst.index >= 4
    assert parity.relative == pytest.approx(0.01, rel=0.1)


def test_an_input_whose_outputs_are_small_is_judged_by_itself():
    large, small = row(100, -100, 50), row(0.1, -0.1, 0.2)
    parity = judged(Precision.FP32, pair(large, large), pair(small, row(0.1, -0.1, 0.1)))

    assert parity.state is OFF and parity.reason.startswith("output 0, input 1: ")


def test_random_classes_with_a_level_near_zero_and_little_change_are_not_judged_by_themselves():
    levels = np.linspace(-1, 1, 41)

    assert over(lambda chance: (levels + chance.normal(0, 1e-3, 41))[np.newaxis], step=2 / 255).state is OK


def test_a_nearly_constant_class_of_a_segmentation_is_not_off_for_rounding():
    def maps(chance, level):
        values = chance.normal(0, 1, (1, 8, 8, 21))
        values[..., 5] = level + 1e-3 * values[..., 5]
        return values

    assert over(lambda chance: maps(chance, 0.0), step=0.03).state is OK
    assert over(lambda chance: maps(chance, 0.4), step=0.03).state is OK


def test_classes_that_never_get_a_probability_are_not_judged_by_themselves():
    def probabilities(chance):
        scores = chance.normal(0, 1, (1, 10)) - np.array([0] * 5 + [12] * 5)
        return np.exp(scores) / np.exp(scores).sum()

    assert over(probabilities, count=20, step=1 / 256).state is OK


def test_large_outputs_have_slices_of_their_first_inputs(monkeypatch):
    monkeypatch.setattr(comparison, "MAX_SLICED_ELEMENTS", 1000)

    assert over(detections, count=20, step=640 / 255).state is OFF


@pytest.mark.parametrize(("flipped", "state"), [(6, OK), (7, OFF)])
def test_booleans_are_judged_by_how_many_differ(flipped, state):
    wanted = np.arange(100) % 2 == 0
    got = wanted.copy()
    got[:flipped] ^= True
    parity = judged(Precision.DYNAMIC, pair(wanted, got), pair(~wanted, ~wanted))

    assert parity.state is state
    assert state is OK or parity.reason == "output 0: 3.5% of the values differ, limit 3.2%"
    assert (parity.relative is None) == (state is OK)


def test_top1_agreement_has_a_limit_for_trained_weights_only():
    right, wrong = pair(row(0, 3, 1), row(0, 2.9, 1)), pair(row(0, 3, 2.9), row(0, 2.9, 3))
    samples = [right] * 9 + [wrong]

    untrained = judge(Precision.INT8, right, samples)
    trained = judge(Precision.INT8, right, samples, trained=True)

    assert untrained.state is OK and untrained.top1_agreement == 0.9 and untrained.top1_agrees is True
    assert trained.state is OFF
    assert trained.reason == "the same class is first for 90.0% of the samples, limit 95%"


def test_first_class_and_cosine_are_recorded():
    agreeing = judged(Precision.FP32, pair(row(0, 3, 1), row(0, 2.9, 1)))
    flipped = judged(Precision.FP32, pair(row(0, 3, 2.9), row(0, 2.9, 3)))

    assert agreeing.top1_agrees is True and flipped.top1_agrees is False
    assert agreeing.cosine == pytest.approx(1, abs=1e-3)
    assert judged(Precision.FP32, pair(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)))).top1_agrees is None


def test_rounding_next_to_a_large_bias_is_no_error_of_single_precision():
    # The level of two classes is small next to the others', and they hardly change.
    level = row(3e-2, -2e-2, 2e-8, 3e-8)

    def state(precision, difference):
        outputs = [level * np.float32(change) for change in (1.0, 1.1, 1.2)]
        return judged(precision, *(pair(each, each + row(0, 0, difference, 0)) for each in outputs)).state

    assert (state(Precision.FP32, 1e-9), state(Precision.FP32, 1e-7)) == (OK, OFF)
    assert state(Precision.FP16, 1e-9) is OFF


@pytest.mark.parametrize("mask", [-1e9, -3e38])
def test_a_mask_among_the_scores_excuses_no_difference_of_the_others(mask):
    scores = [row(mask * change, 2 * change, change, -change) for change in (0.8, 0.9, 1.0)]
    assert judged(Precision.FP32, *(pair(each, each) for each in scores)).state is OK
    assert judged(Precision.FP32, *(pair(each, each + row(0, 0, 0.1, 0)) for each in scores)).state is OFF


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.DYNAMIC, Precision.INT8, Precision.MIXED])
@pytest.mark.parametrize(
    ("relative", "sqnr_db", "state"),
    [(None, None, OFF), (0.9, -9.0, OFF), (2e-3, 52.0, UNKNOWN), (1e-4, 100.0, OFF)],
)
def test_what_is_made_from_an_artifact_that_is_off_is_not_ok(precision, relative, sqnr_db, state):
    fp32 = Parity(state=OFF, reason="output 0: wrong", relative=relative, sqnr_db=sqnr_db)

    made = derived(precision, Parity(state=OK), fp32)

    assert made.state is state
    assert made.reason == "the fp32 artifact that it is made from is off: output 0: wrong"


def test_what_is_made_from_a_right_artifact_is_judged_by_itself():
    own = Parity(state=UNKNOWN, reason="output 0: it is the same for every input")

    for state in (OK, UNKNOWN):
        assert derived(Precision.INT8, own, Parity(state=state, reason="some")) is own
    assert derived(Precision.INT8, own, None) is own
    assert derived(Precision.INT8, own, Parity(state=OFF, reason="wrong")).reason.startswith(own.reason)


@pytest.mark.parametrize(
    ("expected", "actual", "reason"),
    [
        ((1, NAN, 2), (1, 0, 2), "PyTorch has NaN where the artifact has none"),
        ((1, 0, 2), (1, NAN, 2), "the artifact has NaN where PyTorch has none"),
        ((1, -np.inf, 2), (1, -3e38, 2), "PyTorch has infinite values where the artifact has none: "),
        ((1, 0, 2), (1, np.inf, 2), "the artifact has infinite values where PyTorch has none"),
    ],
)
def test_values_that_are_not_finite_are_said_to_differ(expected, actual, reason):
    parity = judged(Precision.FP32, pair(row(*expected), row(*actual)), OTHER)

    assert parity.state is OFF and parity.reason.startswith(f"output 0: {reason}")
