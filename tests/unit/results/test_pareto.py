"""Pareto fronts and hypervolume contributions, compared with their definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite.results.pareto import Point, contributions, fronts, hypervolume

points_of = st.lists(
    st.builds(Point, st.integers(1, 12), st.integers(0, 6).map(lambda sixths: sixths / 6)), max_size=14
)


def dominates(one: Point, other: Point) -> bool:
    no_worse = one.latency_ns <= other.latency_ns and one.accuracy >= other.accuracy
    return no_worse and one != other


@given(points_of)
def test_front_1_is_what_nothing_dominates_and_each_further_one_what_only_earlier_ones_dominate(points):
    left, front = set(points), 1
    expected = {}
    while left:
        best = {point for point in left if not any(dominates(other, point) for other in left)}
        expected |= dict.fromkeys(best, front)
        left, front = left - best, front + 1
    assert fronts(points) == [expected[point] for point in points]


@given(points_of, st.integers(1, 14))
def test_a_contribution_is_what_the_hypervolume_loses_without_the_point(points, reference_ns):
    whole = hypervolume(points, reference_ns)
    without = [hypervolume(points[:i] + points[i + 1 :], reference_ns) for i in range(len(points))]
    assert contributions(points, reference_ns) == pytest.approx([whole - each for each in without])


def test_the_hypervolume_is_a_share_of_the_area_below_the_reference():
    points = [Point(2, 0.5), Point(6, 0.9), Point(4, 0.4), Point(20, 1.0)]
    assert fronts(points) == [1, 1, 2, 1]
    assert hypervolume(points, 10) == pytest.approx((8 * 0.5 + 4 * 0.4) / 10)
    # Without the first, the third dominates a part of what it did.
    assert contributions(points, 10) == pytest.approx([0.12, 0.16, 0, 0])


def test_nothing_has_no_hypervolume():
    assert (fronts([]), contributions([], 0), hypervolume([], 0)) == ([], [], 0.0)
