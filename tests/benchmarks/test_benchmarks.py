"""Every benchmark can be loaded, and those that need no conversion run in a small size."""

import importlib

import pytest

from benchmarks.__main__ import NAMES, main

#: The arguments of `run` that make each benchmark small; the others read all of LEMUR or convert.
SMALL = {"queue_rate": (20,), "quiet": (1,)}
pytestmark = pytest.mark.server


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_gives_its_figures(name):
    figures = importlib.import_module(f"benchmarks.{name}").run(*SMALL[name])
    ratios = [value for figure, value in figures.items() if figure.endswith("ratio")]
    assert ratios
    assert all(ratio > 0 for ratio in ratios)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_loaded(name):
    assert callable(importlib.import_module(f"benchmarks.{name}").run)


def test_an_unknown_benchmark_is_refused(capsys):
    assert main(["nothing"]) == 2
    assert ", ".join(NAMES) in capsys.readouterr().err
