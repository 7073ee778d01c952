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
from waiting import HANG_S

pytestmark = pytest.mark.process


class Network(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.seen = function, []
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        return self.function(self, x)


def mean_of_all_seen(network, x):
    network.seen.append(x)
    return sum(network.seen) / len(network.seen)


def calls(network, x):
    network.calls += 1
    return x * network.calls


@pytest.mark.parametrize(
    ("function", "changing", "why"),
    [
        (lambda network, x: x * random.random(), (), RANDOM),
        (lambda network, x: x[:, torch.from_numpy(np.random.permutation(4))], (), RANDOM),
        (mean_of_all_seen, (), STATEFUL),
        (calls, (), STATEFUL),
        (calls, ("calls",), None),
        (lambda network, x: x.relu() + 0 * random.random(), (), None),
    ],
)
def test_what_makes_outputs_vary_is_named(function, changing, why):
    network = Network(function)
    loaded = Loaded(
        module=network,
        input_shape=(1, 4),
        samples=(np.linspace(-1, 2, 4, dtype=np.float32)[None],),
        expected=(),
        weights=[],
        changing={name: getattr(network, name).clone() for name in changing},
    )

    assert why_outputs_vary(loaded, 0) is why


@pytest.mark.parametrize("load", [lambda *_: time.sleep(HANG_S), lambda *_: sys.exit()])
def test_a_network_that_does_not_load_again_costs_no_artifact(monkeypatch, load):
    monkeypatch.setattr(causes, "load", load)
    monkeypatch.setattr(causes, "_MAX_S", 0.01)
    reports = [SimpleNamespace(parity=Parity(state=ParityState.OFF, reason="far off"))]

    assert causes.with_changes_of_pytorch(reports, SimpleNamespace(seed=0)) == reports
