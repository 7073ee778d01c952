"""PyTorch gives other outputs for the same input: why, and only where it does."""

import random
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nnlite.vocabulary import ParityState
from nnlite_conversion.outcome import Parity
from nnlite_conversion.pipeline import causes
from nnlite_conversion.pipeline.loading.load import Loaded
from nnlite_conversion.pipeline.repeating import RANDOM, STATEFUL, why_outputs_vary
from unit.conversion.networks import OfFunction
from waiting import HANG_S

pytestmark = pytest.mark.process


class Network(OfFunction):
    def __init__(self, function):
        super().__init__(function)
        self.seen = []
        self.layer, self.generator = Doubled(), np.random.default_rng()
        self.register_buffer("calls", torch.zeros(1))


def drawn(network, x):
    return x * random.random()


def mean_of_all_seen(network, x):
    network.seen.append(x)
    return sum(network.seen) / len(network.seen)


def calls(network, x):
    network.calls += 1
    return x * network.calls


def every_other(network, x):
    network.seen.append(1)
    started = time.monotonic()  # is nothing that outputs depend on
    if len(network.seen) % 2:
        x = x + 1
    return x if started else -x


def shuffled(network, x):
    time.monotonic()
    places = np.random.permutation(4)
    return x[:, torch.from_numpy(places)]


class Doubled(torch.nn.Module):
    def forward(self, x):
        return x * 2


def scaled_by_layer(network, x):
    network.seen.append(1)
    return network.layer(x * len(network.seen))


def by_own_generator(network, x):
    return x * network.generator.random()


@pytest.mark.parametrize(
    ("function", "changing", "why", "line"),
    [
        (drawn, (), RANDOM, "return x * random.random()"),
        (shuffled, (), RANDOM, "places = np.random.permutation(4)"),
        (mean_of_all_seen, (), STATEFUL, "return sum(network.seen) / len(network.seen)"),
        (calls, (), STATEFUL, "return x * network.calls"),
        (calls, ("calls",), None, None),
        (every_other, (), STATEFUL, "if len(network.seen) % 2:"),
        (scaled_by_layer, (), STATEFUL, "return network.layer(x * len(network.seen))"),
        (by_own_generator, (), STATEFUL, "return x * network.generator.random()"),
        (lambda network, x: x.relu() + 0 * random.random(), (), None, None),
    ],
)
def test_what_makes_outputs_vary_is_named(function, changing, why, line):
    network = Network(function)
    loaded = Loaded(
        module=network,
        input_shape=(1, 4),
        samples=(np.linspace(-1, 2, 4, dtype=np.float32)[None],),
        expected=(),
        weights=[],
        changing={name: getattr(network, name).clone() for name in changing},
    )

    found = why_outputs_vary(loaded, 0)

    assert (found and found.why) is why
    assert (found and found.line and found.line.source) == line


@pytest.mark.parametrize("load", [lambda *_: time.sleep(HANG_S), lambda *_: sys.exit()])
def test_a_network_that_does_not_load_again_costs_no_artifact(monkeypatch, load):
    monkeypatch.setattr(causes, "load", load)
    monkeypatch.setattr(causes, "_MAX_S", 0.01)
    reports = [SimpleNamespace(parity=Parity(state=ParityState.OFF, reason="far off"))]

    assert causes.with_changes_of_pytorch(reports, SimpleNamespace(seed=0)) == reports
