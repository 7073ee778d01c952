"""When the reaper may expire leases: never while their owners may have been unable to renew them."""

import pytest

from nnlite.reaper.reaper import GracePeriod


@pytest.fixture
def patience() -> GracePeriod:
    return GracePeriod(lease_s=30)


def rounds(patience: GracePeriod, *times_s: float) -> list[bool]:
    return [patience.round(now_s) for now_s in times_s]


def test_nothing_expires_for_one_lease_after_the_start(patience):
    assert rounds(patience, 100, 110, 120, 129.9, 130, 140) == [False, False, False, False, True, True]


def test_a_gap_of_more_than_half_a_lease_begins_anew(patience):
    assert rounds(patience, 0, 10, 20, 30) == [False, False, False, True]
    assert rounds(patience, 46, 56, 66) == [False, False, False]
    assert rounds(patience, 76) == [True]


def test_a_gap_of_half_a_lease_is_none(patience):
    assert rounds(patience, 0, 15, 30, 45) == [False, False, True, True]


def test_owners_get_a_lease_of_time_after_postgres_was_away(patience):
    rounds(patience, 0, 10, 20, 30)
    patience.lost()
    assert rounds(patience, 35, 45, 55, 65) == [False, False, False, True]
