"""Pareto fronts of accuracy and latency, and how much of the hypervolume each model alone adds.

A point dominates another if it is as accurate and as fast, or better, and better in one of the two. The
hypervolume is the area that a front dominates, between accuracy 0 and a reference latency; here as a share of
the whole area, 0 to 1 (Zitzler and Thiele, "Multiobjective Evolutionary Algorithms", 1999).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A model: its latency, and its accuracy from 0 to 1."""

    latency_ns: float
    accuracy: float


def fronts(points: Sequence[Point]) -> list[int]:
    """Return the number of the front of each point: 1 is dominated by none, 2 only by points of 1, and so on.

    Equal points are on the same front.
    """
    numbers: dict[Point, int] = {}
    #: Of each front the highest accuracy so far, negated; ascending, as later fronts are less accurate.
    highest: list[float] = []
    for point in sorted(set(points), key=lambda each: (each.latency_ns, -each.accuracy)):
        # Everything before is at least as fast: a front without a point as accurate takes this one.
        front = bisect_right(highest, -point.accuracy)
        highest[front : front + 1] = [-point.accuracy]
        numbers[point] = front + 1
    return [numbers[point] for point in points]


def hypervolume(points: Sequence[Point], reference_ns: float) -> float:
    """Return the share of the area up to `reference_ns` that the points dominate."""
    area, accuracy = 0.0, 0.0
    for point in sorted(set(points), key=lambda each: (each.latency_ns, -each.accuracy)):
        if point.latency_ns < reference_ns and point.accuracy > accuracy:
            area += (reference_ns - point.latency_ns) * (point.accuracy - accuracy)
            accuracy = point.accuracy
    return area / reference_ns if reference_ns > 0 else 0.0


def contributions(points: Sequence[Point], reference_ns: float) -> list[float]:
    """Return by how much the hypervolume would shrink without each point; 0 for one that has its equal."""
    whole, copies = hypervolume(points, reference_ns), Counter(points)
    numbers = dict(zip(points, fronts(points), strict=True))
    # Without a point of the first front, points of the second dominate what nothing else does.
    near = [point for point, number in numbers.items() if number <= 2]
    alone = {
        point: whole - hypervolume([other for other in near if other != point], reference_ns)
        for point in near
        if numbers[point] == 1 and copies[point] == 1
    }
    return [alone.get(point, 0.0) for point in points]
