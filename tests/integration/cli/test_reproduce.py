"""`nnlite reproduce` as its user runs it: it waits for a device, says what came out, and can be stopped."""

import uuid

import pytest

from integration.campaigns.test_reproduce import with_median
from integration.canned import finish_benchmark, finish_conversion
from integration.cli.test_campaigns import cluster, row_of

__all__ = ["cluster"]


@pytest.fixture
def measured(nnlite, cluster) -> uuid.UUID:
    """A benchmark with a result of one millisecond."""
    assert nnlite("submit", "ResNet", "--name", "night", "--pool", "phones").code == 0
    (message,) = finish_conversion(cluster, row_of(cluster, "ResNet"))
    finish_benchmark(cluster, message.row_id, with_median(1_000_000, 980_000, 1_020_000))
    return message.row_id


@pytest.fixture
def meanwhile(environment):
    """What happens while the command waits."""

    def happens(action) -> None:
        environment.setattr("nnlite.cli.reproduce.sleep", lambda _seconds: action())

    return happens


def measures(cluster, median_ns):
    def measure() -> None:
        (row,) = cluster.rows("SELECT id FROM benchmark WHERE state = 'queued'")
        finish_benchmark(cluster, row["id"], with_median(median_ns))

    return measure


def test_a_result_that_comes_again_ends_well(nnlite, cluster, measured, meanwhile):
    meanwhile(measures(cluster, 1_010_000))
    said = nnlite("reproduce", str(measured)[:8])
    assert said.code == 0
    assert "waiting for a device of pool phones: lab-phone (ready)" in said.err
    (last,) = said.out.splitlines()[-1:]
    assert last == (
        "cpu: reproduced: the new median is within the old one's interval "
        "(variation between runs: an assumption), new / old 1.010"
    )


def test_one_that_does_not_is_an_error_and_json_has_both(nnlite, cluster, measured, meanwhile):
    meanwhile(measures(cluster, 1_500_000))
    said = nnlite("reproduce", "ResNet")
    assert said.code == 1
    assert "cpu: not reproduced: the new median is outside of" in said.out
    meanwhile(measures(cluster, 1_000_000))
    (compared,) = nnlite("reproduce", str(measured), "--json").rows
    assert (compared["inside"], compared["ratio"]) == (True, 1)
    assert (compared["old"]["run"], compared["new"]["run"]) == (1, 3)


def test_a_stop_cancels_the_new_measurement_only(nnlite, cluster, measured, meanwhile):
    def stop() -> None:
        raise KeyboardInterrupt

    meanwhile(stop)
    cluster.change("UPDATE device SET state = 'stopped'")
    said = nnlite("reproduce", str(measured))
    assert said.code == 130
    assert "no worker serves pool phones; waiting for one: nnlite worker benchmark --pool phones" in said.err
    assert cluster.rows("SELECT run, state FROM benchmark ORDER BY run") == [
        {"run": 1, "state": "done"},
        {"run": 2, "state": "cancelled"},
    ]


def test_a_campaign_is_not_reproduced(nnlite, measured):
    said = nnlite("reproduce", "night")
    assert (said.code, said.out) == (1, "")
    assert "night is a campaign; name one of its rows" in said.err
