"""The shape of a run: steady, warming, slowing, or without a steady state at its end."""

import numpy as np
import pytest

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Shape
from nnlite_benchmark.protocol.analysis.shape import shape_of

TOLERANCE = MeasurementSettings().shape_tolerance


def run(*levels: tuple[int, float], noise: float = 0.02) -> np.ndarray:
    """A run of these numbers of samples at these times in ms, with noise that is always positive."""
    draw = np.random.default_rng(3)
    means = np.concatenate([np.full(count, level * 1e6) for count, level in levels])
    return np.round(means * (1 + noise * draw.exponential(size=means.size))).astype(np.int64)


@pytest.mark.parametrize(
    ("samples", "shape"),
    [
        (run((1000, 1.0)), Shape.STEADY),
        (run((60, 20.0)), Shape.STEADY),
        (run((1000, 1.0), noise=0.3), Shape.STEADY),
        (run((500, 1.0), (500, 1.03)), Shape.STEADY),
        (run((300, 1.3), (700, 1.0)), Shape.WARMING),
        (run((100, 1.3), (200, 1.15), (700, 1.0)), Shape.WARMING),
        (run((20, 1.5), (40, 1.0)), Shape.WARMING),
        (run((500, 1.0), (500, 1.2)), Shape.SLOWING),
        (run((200, 1.3), (400, 1.0), (400, 1.2)), Shape.SLOWING),
        (run((900, 1.0), (100, 1.3)), Shape.NO_STEADY_STATE),
        (run(*[(100, 1.0), (80, 1.6)] * 6), Shape.NO_STEADY_STATE),
        (run((30_000, 0.1), (70_000, 0.12)), Shape.SLOWING),
    ],
)
def test_a_shape_is_that_of_its_levels(samples: np.ndarray, shape: Shape) -> None:
    assert shape_of(samples, TOLERANCE) is shape


def test_one_preemption_is_no_level() -> None:
    samples = run((1000, 1.0))
    samples[500:515] *= 8
    assert shape_of(samples, TOLERANCE) is Shape.STEADY


def test_equal_samples_are_steady() -> None:
    assert shape_of(np.full(100, 7), TOLERANCE) is Shape.STEADY
    assert shape_of(np.zeros(100, np.int64), TOLERANCE) is Shape.STEADY


def test_fewer_than_50_samples_have_no_shape() -> None:
    assert shape_of(run((50, 1.0)), TOLERANCE) is Shape.STEADY
    assert shape_of(run((49, 1.0)), TOLERANCE) is None


def test_false_alarms_are_rare() -> None:
    draw = np.random.default_rng(5)
    shapes = [shape_of(draw.gamma(100, 1e4, 200).astype(np.int64), TOLERANCE) for _ in range(100)]
    assert shapes.count(Shape.STEADY) >= 97
