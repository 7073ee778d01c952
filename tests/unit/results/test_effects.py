"""Which settings change the latency: what is compared with what, and when two latencies differ."""

import random

import pytest

from nnlite.results import effects
from nnlite.results.effects import compared

CODE = """
class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.layer = torch.nn.Linear(int(prm["width"]), int(prm["depth"]))
"""


def result(median_ms, transform="norm_64", half=0.1, **hyperparameters):
    return {
        "model": f"Net@{hyperparameters}", "code_sha256": "1" * 64, "code": CODE, "pool": "host",
        "device": "host-lab", "precision": "fp32", "backend": "cpu", "threads": 1, "dataset": "cifar-10",
        "mode": "standard", "transform": transform,
        "hyperparameters": {"width": 8, "depth": 2, "lr": 0.1} | hyperparameters,
        "median_ns": round(median_ms * 1e6), "interval_low_ns": round((median_ms - half) * 1e6),
        "interval_high_ns": round((median_ms + half) * 1e6),
    }  # fmt: skip


def test_a_setting_that_alone_differs_has_its_effect():
    wide, deep = compared([result(1.0), result(3.0, width=32), result(1.05, depth=3)])
    assert (wide["architecture"], wide["setting"], wide["alone"]) == ("Net", "width", True)
    assert (wide["faster"], wide["slower"], wide["factor"]) == ("8", "32", 3.0)
    assert (wide["pairs"], wide["changed"]) == (1, 1)
    assert (deep["setting"], deep["changed"]) == ("depth", 0), "each is inside of the other's interval"


def test_what_only_training_reads_is_no_setting():
    assert compared([result(1.0, lr=0.1), result(3.0, lr=0.2)]) == []
    (row,) = compared([result(1.0, lr=0.1), result(3.0, lr=0.2, width=16)])
    assert row["setting"] == "width"


def test_settings_that_differ_only_together_are_named_together():
    (row,) = compared([result(1.0), result(3.0, "norm_128", width=32)])
    assert (row["setting"], row["alone"]) == ("transform + width", False)
    assert (row["faster"], row["slower"]) == ("norm_64 + 8", "norm_128 + 32")


def test_together_is_not_said_where_one_of_them_is_known_alone():
    rows = compared([result(1.0), result(2.0, width=32), result(3.0, "norm_128", width=32)])
    assert {row["setting"] for row in rows} == {"width", "transform"}


def test_of_several_pairs_the_largest_effect_is_shown():
    (row,) = compared([result(1.0), result(2.0, width=16), result(4.0, width=32)])
    assert (row["pairs"], row["changed"], row["faster"], row["slower"]) == (3, 3, "8", "32")


@pytest.mark.parametrize(
    "other",
    [
        {"device": "phone"},
        {"threads": 4},
        {"code_sha256": "2" * 64},
        {"precision": "int8"},
        {"mode": "quick"},
    ],
)
def test_results_of_other_devices_threads_modes_and_code_are_not_compared(other):
    assert compared([result(1.0), result(3.0, width=32) | other]) == []


@pytest.mark.parametrize(("halves", "changed"), [((0.4, 0.4), 1), ((0.6, 0.4), 0), ((0.4, 0.6), 0)])
def test_latencies_differ_that_are_outside_of_each_others_interval(halves, changed):
    first, second = halves
    (row,) = compared([result(2.0, half=first), result(2.5, width=32, half=second)])
    assert row["changed"] == changed


def test_without_an_interval_nothing_is_said_to_change():
    unknown = {"interval_low_ns": None, "interval_high_ns": None}
    (row,) = compared([result(1.0), result(3.0, width=32) | unknown])
    assert row["changed"] == 0


def test_the_largest_effects_come_first():
    rows = compared([result(1.0), result(5.0, width=32), result(2.0, depth=9)])
    assert [row["setting"] for row in rows] == ["width", "depth"]


def test_of_many_random_settings_only_the_smallest_differences_are_named():
    chance = random.Random(0)
    names = [f"setting{number}" for number in range(12)]
    changes = {tuple(sorted(chance.sample(names, chance.randint(2, 8)))) for _ in range(300)}
    assert effects._smallest(changes) == {
        each for each in changes if not any(set(less) < set(each) for less in changes)
    }
