"""Passes of continuous inference in the database: their plateaus and their series, by model."""

import pytest

from integration.canned import finish_benchmark, finish_conversion, measurement
from nnlite.reports.schema import Bins, Sustained
from nnlite.results import profiles, queries
from nnlite.vocabulary import Shape

S = 1_000_000_000
HOT = Sustained(
    seconds=3,
    first_level_ns=20_000_000,
    plateau_ns=30_000_000,
    slower_after_ns=2 * S,
    shape=Shape.SLOWING,
    bins=Bins(end_ns=(S, 2 * S, 3 * S), runs=(50, 50, 33), median_ns=(20_000_000, 20_000_000, 30_000_000)),
)


@pytest.fixture
def measured(cluster):
    """Measure a model once, with a pass."""

    def run(of_pass):
        row = cluster.conversion(cluster.submit("one", name="hot", pools=("phones",), sustained=3).id)["id"]
        (message,) = finish_conversion(cluster, row)
        return finish_benchmark(cluster, message.row_id, measurement(sustained=of_pass))

    return run


def test_a_pass_is_a_row_with_first_level_and_plateau(cluster, measured):
    measured(HOT)
    (row,) = profiles.passes(cluster.engine, "hot", "o*")
    assert (row["model"], row["device"], row["seconds"], row["error"]) == ("one", "lab-phone", 3, None)
    assert (row["first_level_ns"], row["plateau_ns"]) == (20_000_000, 30_000_000)
    assert (row["slower_after_ns"], row["shape"], row["median_ns"]) == (2 * S, "slowing", 1_000_000)
    assert profiles.passes(cluster.engine, "hot", "t*") == profiles.passes(cluster.engine, "cold") == []


def test_the_series_has_a_row_for_each_bin(cluster, measured):
    measured(HOT)
    rows = cluster.rows("SELECT bin, end_ns, runs, median_ns FROM sustained_series ORDER BY bin")
    assert [tuple(row.values()) for row in rows] == [
        (1, S, 50, 20_000_000), (2, 2 * S, 50, 20_000_000), (3, 3 * S, 33, 30_000_000),
    ]  # fmt: skip
    (report,) = queries.reports(cluster.engine, "hot")
    assert "bins" not in report["measurements"][0]["sustained"], "they have a column of their own"


def test_a_pass_that_failed_has_its_reason_and_no_series(cluster, measured):
    measured(Sustained(seconds=3, error="the app crashed"))
    (row,) = profiles.passes(cluster.engine)
    assert (row["error"], row["plateau_ns"]) == ("the app crashed", None)
    assert cluster.rows("SELECT * FROM sustained_series") == []
