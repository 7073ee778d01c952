"""Integers: what a network's inputs accept, and what 32 bits do not hold."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlite_conversion.pipeline.verifying import integers
from nnlite_conversion.pipeline.verifying.integers import Needs64Bits, integer_ranges
from unit.conversion.networks import OfFunction

WORDS = np.array([[0, 1, 1, 0]])
FULL = (-(2**31), 2**31 - 1)


class Net(OfFunction):
    """A network of one function, with an embedding and a table."""

    def __init__(self, function):
        super().__init__(function)
        self.embedding = nn.Embedding(37, 4)
        self.table = nn.Parameter(torch.rand(50, 4))


def ranges(function, *samples):
    return integer_ranges(Net(function), samples or (WORDS,))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda net, x: net.embedding(x), (0, 36)),
        (lambda net, x: net.embedding(x + 5), (0, 31)),
        (lambda net, x: net.table[x], (0, 49)),
        (lambda net, x: net.embedding(x) + net.table.index_select(0, x[0]), (0, 36)),
        (lambda net, x: net.table.gather(0, x), (0, 49)),
        (lambda net, x: F.one_hot(x, 11), (0, 10)),
        (lambda net, x: net.embedding(x.clamp(0, 36)), FULL),
        (lambda net, x: net.embedding(x % 37), FULL),
        (lambda net, x: (x // 3) % 5, FULL),
        (lambda net, x: net.table[:4].sum(1) * x, (-65536, 65535)),
        (lambda net, x: (x == 0).float(), FULL),
    ],
)
def test_the_range_that_a_network_accepts(function, expected):
    found = ranges(function)

    assert (found.of_inputs, found.beyond) == ((expected,), None)


def test_inputs_have_ranges_of_their_own_and_other_types_none():
    image, flags = np.zeros((1, 3), np.float32), np.array([[True, False]])
    found = ranges(
        lambda net, image, words, flags, rows: (net.embedding(words), net.table[rows], image, flags),
        image, WORDS, flags, WORDS.astype(np.int32),
    )  # fmt: skip
    assert found.of_inputs == (None, (0, 36), None, (0, 49))


@pytest.mark.parametrize(
    ("function", "operator", "value"),
    [
        (lambda net, x: (x * 1500000001) % 1000, "aten.mul.Tensor", -4096 * 1500000001),
        (lambda net, x: (x + 2**33) % 1000, "aten.add.Tensor", 2**33),
        (lambda net, x: x.clamp(max=2**40), "aten.clamp.default", 2**40),
        (lambda net, x: x == 2**40, "aten.eq.Scalar", 2**40),
        (lambda net, x: torch.full((3,), 2**40) + x[0, 0], "aten.full.default", 2**40),
        (lambda net, x: (x * 65537) * 65537, "aten.mul.Tensor", 65537**2),
    ],
)
def test_values_beyond_32_bits_are_refused_with_operator_and_line(function, operator, value):
    with pytest.raises(Needs64Bits) as failure:
        ranges(function)

    details = failure.value.details
    assert details["operator"] == operator and str(value) not in details["cause"]
    assert details["line"].startswith("test_integers.py:") and "lambda net, x" in details["line"]
    assert failure.value.reason.endswith(
        f"{operator} reaches {value}, at {details['line']}; {details['remedy']}"
    )


def test_a_network_without_integer_inputs_is_watched_too():
    image = np.ones((1, 3), np.float32)

    assert ranges(lambda net, x: x * torch.arange(3), image).of_inputs == (None,)
    with pytest.raises(Needs64Bits, match="reaches 3000000000"):
        ranges(lambda net, x: x * (torch.arange(3) * 1500000000), image)


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: x[:, : 2**63 - 1],
        lambda net, x: x[:, 1:],
        lambda net, x: torch.empty_like(x).copy_(x) + torch.empty(1, dtype=torch.int64).fill_(3),
        lambda net, x: x + 1,
        lambda net, x: net.embedding(x).sum(1),
        lambda net, x: net.table[:4].masked_fill(x[0, :, None] == 0, float("-inf")),
    ],
)
def test_what_32_bits_hold_is_not_refused(function):
    assert ranges(function).beyond is None


def test_values_that_are_right_up_to_some_input_are_said():
    found = ranges(lambda net, x: x * 40503 % 1000)

    assert found.of_inputs == ((-4096, 4095),)
    assert found.beyond.startswith(
        "32 bits hold integers up to 4095 only; beyond, aten.mul.Tensor reaches -2654404608, at test_int"
    )


def test_inputs_are_at_different_ends_too():
    found = ranges(lambda net, x, y: x - y, WORDS, WORDS)

    assert found.of_inputs == ((-(2**24), 2**24 - 1),) * 2 and found.beyond is None


def test_without_time_the_seeded_range_is_used(monkeypatch):
    monkeypatch.setattr(integers, "MAX_SEARCH_S", -1)

    assert ranges(lambda net, x: net.embedding(x)).of_inputs == ((0, 1),)
