"""Ranks of the right class, and the shares that follow from them."""

import numpy as np

from nnlite.vocabulary import Precision
from nnlite_conversion.pipeline.verifying.ranks import Ranks


def ranks(*samples: tuple[list[float], int]) -> Ranks:
    found = Ranks()
    for scores, label in samples:
        found.add(np.array(scores, np.float32), label)
    return found


def test_the_rank_is_the_number_of_classes_with_a_higher_score():
    assert ranks(([3, 2, 1], 0), ([3, 2, 1], 2), ([1, 2, 3], 1)).of_samples == [0, 2, 1]


def test_of_equal_scores_the_first_counts_as_higher_as_argmax_has_it():
    assert ranks(([1, 1, 1], 0), ([1, 1, 1], 2)).of_samples == [0, 2]


def test_scores_that_are_not_finite_are_wrong():
    assert ranks(([np.nan, 1, 0], 1), ([0, np.inf, 0], 1)).accuracy.top1 == 0


def test_top_5_needs_more_than_five_classes():
    six = ranks(([6, 5, 4, 3, 2, 1], 0), ([6, 5, 4, 3, 2, 1], 4), ([6, 5, 4, 3, 2, 1], 5))
    assert (six.accuracy.top1, six.accuracy.top5) == (1 / 3, 2 / 3)
    assert ranks(([1, 2, 3, 4, 5], 0)).accuracy.top5 is None


def test_an_artifact_is_no_worse_where_it_is_right_or_pytorch_is_wrong():
    right, wrong = ([1, 0], 0), ([1, 0], 1)
    artifact = ranks(right, right, wrong, wrong).as_artifact(
        Precision.INT8, ranks(right, wrong, right, wrong)
    )
    assert (artifact.top1, artifact.no_worse) == (0.5, 0.75)
    assert ranks(right).as_artifact(Precision.INT8, None).no_worse is None
