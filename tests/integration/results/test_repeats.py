"""Benchmarks that are run again: what is added, when it may start, and which result counts."""

import uuid
from typing import Any

import pytest

from integration.canned import (
    finish_benchmark,
    finish_conversion,
    measurement,
    queued_benchmark,
    refusal,
    with_median,
)
from integration.conftest import Cluster
from nnlite.campaigns import control
from nnlite.campaigns.control import CampaignError
from nnlite.reaper.reaper import Reaper
from nnlite.results import queries
from nnlite.results.repeats import is_audited
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Reason, Verdict

SETTINGS = MeasurementSettings(noisy_repeats=2, repeat_pause_s=60, audit_share=0)
NOW = MeasurementSettings(noisy_repeats=2, repeat_pause_s=0, audit_share=0)


@pytest.fixture
def benchmark(cluster: Cluster) -> uuid.UUID:
    """The first run of the only artifact."""
    return queued_benchmark(cluster)


def noisy(median_ns: int = 2_000_000) -> Any:
    return with_median(median_ns, verdict=Verdict.NOISY, reasons=(Reason.SPREAD,))


def runs(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.rows("SELECT id, run, purpose, state FROM benchmark ORDER BY run")


def last(cluster: Cluster) -> uuid.UUID:
    return runs(cluster)[-1]["id"]


def progress(cluster: Cluster) -> queries.Progress:
    (row,) = queries.campaigns(cluster.engine, "night")
    return row


def test_a_noisy_result_is_measured_again_after_a_pause(cluster, benchmark):
    finish_benchmark(cluster, benchmark, noisy(), settings=SETTINGS)
    (_, again) = cluster.rows("""
SELECT run, purpose, state, attempt, priority, extract(epoch FROM available_at - now())::float8 AS pause_s
FROM benchmark ORDER BY run
""")
    pause_s = again.pop("pause_s")
    assert again == {"run": 2, "purpose": "noisy", "state": "queued", "attempt": 0, "priority": 5}
    assert 0 < pause_s < 2 * SETTINGS.repeat_pause_s
    assert cluster.ready() == 0, "its message is not due yet"
    now = progress(cluster)
    assert (now.measured, now.benchmarks, now.benchmarks_queued, now.repeating) == (1, 1, 1, 1)
    assert (now.ended, now.remaining, now.failed) == (False, 1, 0)


def test_a_valid_result_is_not_measured_again(cluster, benchmark):
    finish_benchmark(cluster, benchmark, measurement(), settings=SETTINGS)
    assert len(runs(cluster)) == 1
    assert progress(cluster).ended


def test_noisy_results_are_measured_again_up_to_the_limit(cluster, benchmark):
    for _ in range(3):
        finish_benchmark(cluster, last(cluster), noisy(), settings=NOW)
    assert [(row["run"], row["purpose"], row["state"]) for row in runs(cluster)] == [
        (1, "first", "done"), (2, "noisy", "done"), (3, "noisy", "done"),
    ]  # fmt: skip
    assert progress(cluster).ended


def test_the_reaper_announces_a_run_once_when_it_is_due(cluster, benchmark):
    reaper = Reaper(cluster.engine, cluster.broker, cluster.settings)
    finish_benchmark(cluster, benchmark, noisy(), settings=SETTINGS)
    reaper.round(0)
    assert cluster.ready(queue="benchmark.phones") == 0
    cluster.rows("""
UPDATE benchmark SET sent_at = now() - interval '2 min', available_at = now() - interval '1 s'
WHERE run = 2 RETURNING id
""")
    for now_s in (10, 20):
        reaper.round(now_s)
    assert cluster.ready(queue="benchmark.phones") == 1
    assert reaper.resent == {}, "it was not lost"
    reaper.close()


def test_the_best_verdict_counts_then_the_newest_and_all_results_stay(cluster, benchmark):
    finish_benchmark(cluster, benchmark, noisy(4_000_000), settings=NOW)
    finish_benchmark(cluster, last(cluster), with_median(3_000_000), settings=NOW)
    assert [(row["median_ns"], row["run"], row["purpose"]) for row in queries.latencies(cluster.engine)] == [
        (3_000_000, 2, "noisy")
    ]
    every = cluster.rows("SELECT median_ns, verdict, best FROM measurement_run ORDER BY run")
    assert [tuple(row.values()) for row in every] == [
        (4_000_000, "noisy", False), (3_000_000, "valid", True),
    ]  # fmt: skip
    assert len(queries.reports(cluster.engine)) == 2


def test_the_best_result_is_chosen_for_each_number_of_threads(cluster):
    submitted = cluster.submit("one", name="night", pools=("phones",), threads=(1, 2))
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    first = [with_median(4_000_000), with_median(2_000_000, threads=2, verdict=Verdict.NOISY)]
    second = [with_median(3_900_000, verdict=Verdict.NOISY), with_median(1_000_000, threads=2)]
    finish_benchmark(cluster, message.row_id, *first, settings=NOW)
    finish_benchmark(cluster, last(cluster), *second, settings=NOW)
    best = [(row["threads"], row["median_ns"], row["run"]) for row in queries.latencies(cluster.engine)]
    assert best == [(1, 4_000_000, 1), (2, 1_000_000, 2)]


def test_a_failed_repetition_is_no_failure_of_what_has_a_result(cluster, benchmark):
    finish_benchmark(cluster, benchmark, noisy(), settings=NOW)
    cluster.rows("UPDATE benchmark SET state = 'quarantined' WHERE run = 2 RETURNING id")
    assert (progress(cluster).failed, progress(cluster).measured, progress(cluster).ended) == (0, 1, True)
    assert queries.failures(cluster.engine) == []
    assert cluster.rows("SELECT * FROM failure_summary") == []


def test_retry_measures_again_what_is_noisy_at_its_best(cluster, benchmark):
    finish_benchmark(cluster, benchmark, noisy())
    assert control.retry_noisy(cluster.engine, cluster.broker, "night") == 1
    assert control.retry_noisy(cluster.engine, cluster.broker, "night") == 0, "it is queued already"
    assert cluster.ready(queue="benchmark.phones") == 1
    finish_benchmark(cluster, last(cluster), measurement())
    assert control.retry_noisy(cluster.engine, cluster.broker, "night") == 0
    assert queries.verdicts(cluster.engine, "night") == [
        {"verdict": "valid", "reasons": [], "noise_cause": None, "measurements": 1, "interval_pairs": 0}
    ]


def test_a_cancelled_campaign_measures_nothing_again(cluster, benchmark):
    finish_benchmark(cluster, benchmark, noisy(), settings=NOW)
    assert control.cancel(cluster.engine, "night") == 1
    with pytest.raises(CampaignError, match="retry night --cancelled"):
        control.retry_noisy(cluster.engine, cluster.broker, "night")


def repeated(cluster: Cluster, times: int) -> uuid.UUID:
    """The first run of the only artifact of a campaign that asks for several."""
    submitted = cluster.submit("one", name="night", pools=("phones",), repeat=times)
    (message,) = finish_conversion(cluster, cluster.conversion(submitted.id)["id"])
    return message.row_id


def test_a_campaign_can_ask_for_several_runs(cluster):
    first = repeated(cluster, 3)
    finish_benchmark(cluster, first, settings=NOW)
    finish_benchmark(cluster, last(cluster), noisy(), settings=NOW)
    finish_benchmark(cluster, last(cluster), settings=NOW)
    finish_benchmark(cluster, last(cluster), settings=NOW)
    assert [row["purpose"] for row in runs(cluster)] == ["first", "repeat", "noisy", "repeat"]
    assert (progress(cluster).measured, progress(cluster).ended) == (1, True)


def test_an_audited_artifact_is_measured_once_more(cluster, benchmark):
    every = MeasurementSettings(audit_share=1, repeat_pause_s=0)
    finish_benchmark(cluster, benchmark, settings=every)
    # The campaign is new, so it waits for no more than a moment.
    cluster.change("UPDATE benchmark SET available_at = now() WHERE run = 2")
    finish_benchmark(cluster, last(cluster), settings=every)
    assert [row["purpose"] for row in runs(cluster)] == ["first", "audit"]
    assert progress(cluster).ended


def test_an_invalid_result_is_neither_repeated_nor_audited(cluster):
    first = repeated(cluster, 3)
    finish_benchmark(cluster, first, refusal(), settings=MeasurementSettings(audit_share=1))
    assert len(runs(cluster)) == 1


@pytest.mark.parametrize(("models", "audits"), [(50, {1}), (12, {0, 1}), (120, {2, 3}), (10_000, {200})])
def test_of_every_campaign_the_share_that_is_set_is_audited(models, audits):
    campaigns = [uuid.uuid5(uuid.NAMESPACE_URL, str(number)) for number in range(20)]
    chosen = {sum(is_audited(campaign, place + 1, 0.02) for place in range(models)) for campaign in campaigns}
    assert chosen == audits


def test_all_or_nothing_can_be_audited():
    campaign = uuid.UUID(int=7)
    assert all(is_audited(campaign, place, 1) for place in range(1, 100))
    assert not any(is_audited(campaign, place, 0) for place in range(1, 100))


def test_the_place_of_a_model_is_that_of_its_conversion(cluster):
    submitted = cluster.submit(*(f"model {number}" for number in range(4)), name="night", pools=("phones",))
    half = MeasurementSettings(noisy_repeats=0, audit_share=0.5, repeat_pause_s=0)
    for row in cluster.rows("SELECT id FROM conversion WHERE campaign_id = :id", id=submitted.id):
        (message,) = finish_conversion(cluster, row["id"])
        finish_benchmark(cluster, message.row_id, settings=half)
    assert [row["purpose"] for row in runs(cluster)].count("audit") == 2
