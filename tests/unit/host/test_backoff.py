"""Pauses between retries: `nnlite.host.backoff`."""

from nnlite.host.backoff import Backoff


def test_pauses_double_up_to_the_limit():
    backoff = Backoff(first_s=0.5, max_s=3)
    assert [backoff.pause_s(failures) for failures in range(5)] == [0.5, 1, 2, 3, 3]


def test_thousands_of_failures_do_not_overflow():
    assert Backoff(first_s=1, max_s=60).pause_s(100_000) == 60
