"""Duplicates: how much a device's results vary, the intervals that include it, and suspect devices."""

import math
import uuid
from typing import Any

import pytest

from integration.canned import finish_benchmark, finish_conversion, with_median
from integration.conftest import Cluster
from nnlite.reports.schema import MeasurementReport
from nnlite.results import queries
from nnlite.settings.groups import MeasurementSettings

REPEATED = MeasurementSettings(audit_share=0, repeat_pause_s=0)
#: 1.4826 / sqrt(2): from the median difference of two runs to the standard deviation of one.
TO_STD = 1.4826 / math.sqrt(2)


def exact(median_ns: float) -> MeasurementReport:
    """Return a measurement whose median is known to a tenth of a per cent."""
    low_ns, high_ns = (round(median_ns * share) for share in (0.999, 1.001))
    return with_median(round(median_ns), low_ns, high_ns)


def measure(cluster: Cluster, model: str, *medians_ns: float) -> None:
    """Measure a model of its own as often as there are medians."""
    submitted = cluster.submit(model, pools=("phones",), repeat=len(medians_ns))
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    row: uuid.UUID = message.row_id
    for median_ns in medians_ns:
        finish_benchmark(cluster, row, exact(median_ns), settings=REPEATED)
        (last,) = cluster.rows(
            "SELECT id FROM benchmark WHERE campaign_id = :id ORDER BY run DESC LIMIT 1", id=submitted.id
        )
        row = last["id"]


def variation(cluster: Cluster) -> dict[str, Any]:
    (row,) = cluster.rows("SELECT * FROM device_variation")
    return row


def test_variation_is_known_from_five_pairs_on(cluster):
    measure(cluster, "one", 1_000_000, 1_020_000, 1_000_000, 1_020_000, 1_000_000)
    row = variation(cluster)
    assert (row["device"], row["backend"], row["runs"], row["pairs"]) == ("lab-phone", "cpu", 5, 4)
    assert (row["between_runs"], row["between_days"], row["suspect"]) == (None, None, False)
    measure(cluster, "two", 5_000_000, 5_100_000)
    row = variation(cluster)
    assert row["between_runs"] == pytest.approx(TO_STD * math.log(1.02), rel=1e-3)
    assert row["within_run"] == pytest.approx(0.001 / 1.96, rel=1e-2)


def test_the_interval_includes_the_part_between_runs_where_it_is_known(cluster):
    measure(cluster, "one", *[1_000_000, 1_020_000] * 3)
    (row,) = queries.latencies(cluster.engine)
    half_width = math.hypot(0.001, math.sqrt(2) * 1.96 * TO_STD * math.log(1.02))
    assert row["run"] == 6
    assert row["interval_high_ns"] == pytest.approx(1_020_000 * (1 + half_width), rel=1e-3)
    assert row["interval_low_ns"] == pytest.approx(1_020_000 * (1 - half_width), rel=1e-3)
    assert row["valid_runs"] == 6


def test_a_few_large_differences_widen_the_interval_and_not_the_variation(cluster):
    for number in range(8):
        measure(cluster, f"calm {number}", 1_000_000, 1_010_000)
    for number in range(2):
        measure(cluster, f"jumping {number}", 1_000_000, 1_040_000)
    assert variation(cluster)["between_runs"] == pytest.approx(TO_STD * math.log(1.01), rel=1e-3)
    row = queries.latencies(cluster.engine)[0]
    # Of ten differences the 90th percentile is the ninth, but for a tenth of the way to the tenth.
    half_width = math.hypot(0.001, 1.96 / 1.6449 * math.log(1.04))
    assert row["interval_high_ns"] == pytest.approx(row["median_ns"] * (1 + half_width), rel=1e-3)


def test_the_interval_is_that_of_the_run_where_nothing_else_is_known(cluster):
    measure(cluster, "one", 1_000_000)
    (row,) = queries.latencies(cluster.engine)
    assert (row["interval_low_ns"], row["interval_high_ns"]) == (999_000, 1_001_000)
    assert row["suspect"] is False


def test_duplicates_on_different_days_are_counted_apart(cluster):
    measure(cluster, "one", 1_000_000, 1_030_000)
    cluster.change(
        "UPDATE measurement SET created_at = created_at - interval '1 day' WHERE median_ns = 1000000"
    )
    row = variation(cluster)
    assert (row["pairs"], row["pairs_between_days"]) == (0, 1)
    assert row["between_days"] == pytest.approx(TO_STD * math.log(1.03), rel=1e-3)


def test_numbers_of_threads_are_no_duplicates_of_one_another(cluster):
    measure(cluster, "one", 1_000_000, 1_010_000)
    cluster.change("UPDATE measurement SET threads = 2 WHERE median_ns = 1010000")
    assert cluster.rows("SELECT * FROM device_duplicate") == []
    rows = cluster.rows("SELECT threads, runs FROM device_variation ORDER BY threads")
    assert [tuple(row.values()) for row in rows] == [(1, 1), (2, 1)]


def test_duplicates_that_disagree_make_the_device_and_its_rows_since_the_last_agreement_suspect(cluster):
    measure(cluster, "agreeing", 1_000_000, 1_010_000)
    measure(cluster, "between", 2_000_000)
    measure(cluster, "disagreeing", 3_000_000, 3_900_000)
    measure(cluster, "after", 4_000_000)
    assert variation(cluster)["suspect"]
    suspect = {row["model"]: row["suspect"] for row in queries.latencies(cluster.engine)}
    assert suspect == {"agreeing": False, "between": True, "disagreeing": True, "after": True}
    assert {row["suspect"] for row in queries.devices(cluster.engine)} == {True}

    measure(cluster, "again", 5_000_000, 5_010_000)
    assert not variation(cluster)["suspect"]
    suspect = {row["model"]: row["suspect"] for row in queries.latencies(cluster.engine)}
    assert suspect == {
        "agreeing": False, "between": True, "disagreeing": True, "after": False, "again": False,
    }  # fmt: skip


@pytest.mark.parametrize("disagreeing", [1, 2])
def test_a_benchmark_of_which_one_number_of_threads_disagrees_is_a_disagreement(cluster, disagreeing):
    measure(cluster, "agreeing", 1_000_000, 1_010_000)
    submitted = cluster.submit("both", pools=("phones",), repeat=2, threads=(1, 2))
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    row = message.row_id
    for changed in (1.0, 1.3):
        reports = [
            exact(2_000_000 * (changed if threads == disagreeing else 1)).model_copy(
                update={"threads": threads}
            )
            for threads in (1, 2)
        ]
        finish_benchmark(cluster, row, *reports, settings=REPEATED)
        (last,) = cluster.rows(
            "SELECT id FROM benchmark WHERE campaign_id = :id AND run = 2", id=submitted.id
        )
        row = last["id"]
    suspect = {(row["model"], row["suspect"]) for row in queries.latencies(cluster.engine)}
    assert suspect == {("agreeing", False), ("both", True)}
