"""When the reaper may expire leases: never while their owners may have been unable to renew them."""

import pytest

from nnlite.reaper.reaper import GracePeriod


@pytest.fixture
def grace() -> GracePeriod:
    return GracePeriod(lease_s=30)


def rounds(grace: GracePeriod, *times_s: float) -> list[bool]:
    return [grace.round(now_s) for now_s in times_s]


def test_nothing_expires_for_one_lease_after_the_start(grace):
    assert rounds(grace, 100, 110, 120, 129.9, 130, 140) == [False, False, False, False, True, True]


def test_a_gap_of_more_than_half_a_lease_starts_it_again(grace):
    assert rounds(grace, 0, 10, 20, 30) == [False, False, False, True]
    assert rounds(grace, 46, 56, 66) == [False, False, False]
    assert rounds(grace, 76) == [True]


def test_a_gap_of_half_a_lease_is_none(grace):
    assert rounds(grace, 0, 15, 30, 45) == [False, False, True, True]


def test_owners_get_a_lease_of_time_after_postgres_was_away(grace):
    rounds(grace, 0, 10, 20, 30)
    grace.restart()
    assert rounds(grace, 35, 45, 55, 65) == [False, False, False, True]
