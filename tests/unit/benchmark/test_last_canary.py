"""The canary after one measurement is taken once, while it is recent."""

from types import SimpleNamespace

import pytest

from nnlite_benchmark.protocol import last_canary
from nnlite_benchmark.protocol.last_canary import LastCanary


@pytest.fixture
def now(monkeypatch):
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(last_canary, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


@pytest.mark.parametrize(
    ("age_s", "max_age_s", "taken"), [(0, 30, 7), (29, 30, 7), (30, 30, None), (0, 0, None)]
)
def test_it_is_known_for_a_while(now, age_s, max_age_s, taken):
    last = LastCanary()
    last.set(7)
    now.s += age_s

    assert last.take(max_age_s) == taken


def test_it_is_taken_once_and_can_be_forgotten(now):
    last = LastCanary()
    assert last.take(30) is None, "none has run"
    last.set(7)
    assert [last.take(30), last.take(30)] == [7, None]
    last.set(8)
    last.forget()
    assert last.take(30) is None
