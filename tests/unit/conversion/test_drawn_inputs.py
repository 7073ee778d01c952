"""Drawn inputs: several distributions, the same numbers on every machine."""

import numpy as np

from nnlite_conversion.pipeline.verifying.drawn_inputs import drawn_inputs

IMAGE, WORDS = np.zeros((1, 50, 50, 3), np.float32), np.zeros((1, 9), np.int64)


def test_floats_come_from_three_distributions():
    uniform, normal, unit = (inputs[0] for inputs in drawn_inputs([IMAGE], [None], 0))

    assert uniform.shape == IMAGE.shape and uniform.dtype == np.float32
    assert uniform.min() < -0.99 and uniform.max() > 0.99 and abs(uniform).max() <= 1
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05 and normal.max() > 3
    assert 0 <= unit.min() < 0.01 and 0.99 < unit.max() <= 1


def test_numbers_are_the_same_on_every_machine():
    values = [float(inputs[0].ravel()[0]) for inputs in drawn_inputs([IMAGE], [None], 0)]

    assert values == [0.2766212224960327, 0.3798465132713318, 0.19722676277160645]


def test_no_two_inputs_are_equal():
    inputs = [tensor.tobytes() for each in drawn_inputs([IMAGE, IMAGE], [None, None], 0) for tensor in each]
    inputs += [tensor.tobytes() for each in drawn_inputs([IMAGE, IMAGE], [None, None], 1) for tensor in each]

    # The second of seed 0 is the first of seed 1, as for seeded inputs.
    assert len(set(inputs)) == 9


def test_integers_fill_their_range_and_a_small_one():
    wide, again, small = (words for words, _ in drawn_inputs([WORDS, WORDS > 0], [(-5000, 5000), None], 0))

    for words in (wide, again):
        assert words.dtype == np.int64 and (words.min(), words.max()) == (-5000, 5000)
    assert (small.min(), small.max()) == (0, 255)


def test_booleans_and_full_32_bits_are_drawn():
    flags = [flag for (flag,) in drawn_inputs([WORDS > 0], [None], 0)]
    (words, *_) = (words for (words,) in drawn_inputs([WORDS], [(-(2**31), 2**31 - 1)], 0))

    assert {flag.dtype.name for flag in flags} == {"bool"} and len({flag.tobytes() for flag in flags}) == 3
    assert (words.min(), words.max()) == (-(2**31), 2**31 - 1)
