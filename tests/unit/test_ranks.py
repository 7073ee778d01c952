"""Ranks of the right class, and the shares that follow from them."""

import numpy as np
import pytest

from nnlite.artifacts.ranks import Ranks, UnfitSamples


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
    assert ranks(([np.nan, 1, 0], 1), ([0, np.inf, 0], 1)).top1 == 0


def test_top_5_needs_more_than_five_classes():
    six = ranks(([6, 5, 4, 3, 2, 1], 0), ([6, 5, 4, 3, 2, 1], 4), ([6, 5, 4, 3, 2, 1], 5))
    assert (six.top1, six.top5) == (1 / 3, 2 / 3)
    assert ranks(([1, 2, 3, 4, 5], 0)).top5 is None


def test_an_artifact_is_no_worse_where_it_is_right_or_pytorch_is_wrong():
    right, wrong = ([1, 0], 0), ([1, 0], 1)
    artifact, network = ranks(right, right, wrong, wrong), ranks(right, wrong, right, wrong)
    assert (artifact.top1, artifact.no_worse(network.right)) == (0.5, 0.75)
    assert ranks(right).no_worse(None) is None


def test_what_is_no_row_of_scores_or_lacks_the_class_is_refused():
    with pytest.raises(UnfitSamples, match="not a score for each class"):
        Ranks().add(np.zeros((1, 2, 2)), 0)
    with pytest.raises(UnfitSamples, match="a sample has class 2, the network has classes 0 to 1"):
        Ranks().add(np.zeros(2), 2)
