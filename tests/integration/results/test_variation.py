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


def half_width(row: dict[str, Any]) -> float:
    """Return half the width of a row's interval, of the logarithm; both halves are equal."""
    low, high = (math.log(row[f"interval_{end}_ns"] / row["median_ns"]) for end in ("low", "high"))
    assert low == pytest.approx(-high, rel=1e-3)
    return high


def test_an_interval_assumes_what_its_device_does_not_show_yet(cluster):
    """As if three pairs had differed by 6 %, with Student's t."""
    measure(cluster, "one", 1_000_000)
    (row,) = queries.latencies(cluster.engine)
    assert half_width(row) == pytest.approx(3.182 * 0.06, rel=1e-3)
    assert (row["interval_pairs"], row["between_runs"], row["suspect"]) == (0, None, False)


@pytest.mark.parametrize(("pairs", "student"), [(1, 2.776), (5, 2.306), (18, 2.080)])
@pytest.mark.parametrize(("huge_pages_kb", "assumed"), [("NULL", 0.06), ("2048", 0.04)])
def test_few_duplicates_have_a_part_in_the_interval(cluster, pairs, student, huge_pages_kb, assumed):
    measure(cluster, "one", *([1_000_000, 1_020_000] * 10)[: pairs + 1])
    cluster.change(f"UPDATE measurement SET huge_pages_kb = {huge_pages_kb}")
    (row,) = queries.latencies(cluster.engine)
    squares = 3 * assumed**2 + pairs * math.log(1.02) ** 2
    assert half_width(row) == pytest.approx(student * math.sqrt(squares / (3 + pairs)), rel=1e-3)
    assert (row["run"], row["valid_runs"], row["interval_pairs"]) == (pairs + 1, pairs + 1, pairs)


@pytest.mark.parametrize(("pairs", "rank"), [(19, 19), (20, 20), (38, 38), (39, 38)])
def test_enough_duplicates_give_the_interval_by_their_order(cluster, pairs, rank):
    """Of n differences the next one is below the k-th smallest in k of n + 1 cases."""
    medians_ns = [1_000_000.0]
    for number in range(1, pairs + 1):
        medians_ns.append(medians_ns[-1] * math.exp(0.002 * number * (-1) ** number))
    measure(cluster, "one", *medians_ns)
    (row,) = queries.latencies(cluster.engine)
    assert half_width(row) == pytest.approx(0.002 * rank, rel=1e-3)


def test_duplicates_of_other_days_widen_the_interval_from_nineteen_on(cluster):
    measure(cluster, "calm", *[1_000_000, 1_001_000] * 30)
    for number in range(1, 20):
        measure(cluster, f"days {number}", 2_000_000, 2_000_000 * math.exp(0.01 * number))

    def calm() -> dict[str, Any]:
        return next(row for row in queries.latencies(cluster.engine) if row["model"] == "calm")

    # Of all 78 pairs the 76th, of the 19 the last one.
    assert (calm()["interval_pairs"], half_width(calm())) == (78, pytest.approx(0.17, rel=1e-3))
    cluster.change(
        "UPDATE measurement SET created_at = created_at - interval '2 days' WHERE median_ns = 2000000"
    )
    assert (calm()["interval_pairs"], half_width(calm())) == (78, pytest.approx(0.19, rel=1e-3))


def test_an_interval_is_never_narrower_than_that_of_two_such_runs(cluster):
    measure(cluster, "calm", *[1_000_000] * 20)
    submitted = cluster.submit("wide", pools=("phones",))
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    finish_benchmark(cluster, message.row_id, with_median(1_000_000, 900_000, 1_100_000), settings=REPEATED)
    widths = {row["model"]: half_width(row) for row in queries.latencies(cluster.engine)}
    assert widths["wide"] == pytest.approx(math.sqrt(2) * 0.1, rel=1e-3)
    assert widths["calm"] == pytest.approx(math.sqrt(2) * 0.001, rel=1e-2)


def test_without_an_interval_of_the_run_and_without_duplicates_there_is_none(cluster):
    measure(cluster, "one", 1_000_000)
    cluster.change("UPDATE measurement SET median_low_ns = NULL, median_high_ns = NULL")
    (row,) = queries.latencies(cluster.engine)
    assert (row["interval_low_ns"], row["interval_high_ns"]) == (None, None)


def test_one_large_difference_among_many_duplicates_disagrees(cluster):
    """Twenty-one pairs: the largest is beyond what the twenty others predict."""
    measure(cluster, "calm", *[1_000_000, 1_010_000] * 10, 1_000_000)
    measure(cluster, "jump", 1_000_000, 1_100_000)
    assert variation(cluster)["disagreements"] == 1
    measure(cluster, "small jump", 1_000_000, 1_049_000)
    assert variation(cluster)["disagreements"] == 1, "below 5 % nothing disagrees"


def test_duplicates_on_different_days_are_counted_apart(cluster):
    measure(cluster, "one", 1_000_000, 1_030_000)
    cluster.change(
        "UPDATE measurement SET created_at = created_at - interval '1 day' WHERE median_ns = 1000000"
    )
    row = variation(cluster)
    assert (row["pairs"], row["pairs_between_days"]) == (0, 1)
    assert row["between_days"] == pytest.approx(TO_STD * math.log(1.03), rel=1e-3)


def test_runs_with_and_without_huge_pages_are_no_duplicates_of_one_another(cluster):
    measure(cluster, "one", *[1_000_000, 1_050_000] * 10, 500_000)
    cluster.change("UPDATE measurement SET huge_pages_kb = 0 WHERE median_ns = 500000")
    (huge,) = queries.latencies(cluster.engine)
    assert (huge["median_ns"], huge["interval_pairs"], huge["suspect"]) == (500_000, 0, False)
    assert half_width(huge) == pytest.approx(3.182 * 0.04, rel=1e-3)
    (small,) = cluster.rows("SELECT DISTINCT interval_pairs FROM measurement_run WHERE median_ns > 500000")
    assert small["interval_pairs"] == 19


@pytest.mark.parametrize(("huge_pages_kb", "agrees"), [("NULL", True), ("2048", False)])
def test_runs_in_huge_pages_disagree_sooner(cluster, huge_pages_kb, agrees):
    measure(cluster, "one", 1_000_000, 1_160_000)
    cluster.change(f"UPDATE measurement SET huge_pages_kb = {huge_pages_kb}")
    (pair,) = cluster.rows("SELECT agrees FROM device_duplicate")
    assert pair["agrees"] is agrees


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
