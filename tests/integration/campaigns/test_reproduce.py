"""A result is measured again: what is queued, what it is compared with, and that it changes no result."""

import uuid

import pytest

from integration.canned import finish_benchmark, finish_conversion, queued_benchmark, refusal, with_median
from integration.conftest import Cluster
from nnlite.campaigns import control, reproduce
from nnlite.errors import NnliteError
from nnlite.results import queries
from nnlite.results.verification import Selection, digests
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Reason, Verdict, WorkState

AGAIN = MeasurementSettings(noisy_repeats=2, repeat_pause_s=0, audit_share=1)


@pytest.fixture
def benchmark(cluster: Cluster) -> uuid.UUID:
    """A run that is still to be measured."""
    return queued_benchmark(cluster)


@pytest.fixture
def measured(cluster: Cluster, benchmark: uuid.UUID) -> Selection:
    """A result of one millisecond."""
    finish_benchmark(cluster, benchmark, with_median(1_000_000, 980_000, 1_020_000))
    return Selection(benchmark=benchmark)


def reproduced(cluster: Cluster, selection: Selection, report) -> reproduce.Comparison:
    old = reproduce.results_to_reproduce(cluster.engine, selection)
    added = reproduce.start(cluster.engine, cluster.broker, selection.benchmark)
    assert cluster.ready("benchmark.phones") == 1
    finish_benchmark(cluster, added, report, settings=AGAIN)
    assert reproduce.has_ended(reproduce.progress(cluster.engine, added))
    (comparison,) = reproduce.compare(cluster.engine, old, added)
    return comparison


def test_a_median_within_the_interval_is_reproduced(cluster, measured):
    comparison = reproduced(cluster, measured, with_median(1_010_000, 1, 2))
    assert (comparison.inside, comparison.ratio) == (True, 1.01)
    assert (comparison.old["run"], comparison.new["run"]) == (1, 2)


def test_a_median_outside_of_the_interval_is_not(cluster, measured):
    assert reproduced(cluster, measured, with_median(1_215_000)).inside is False


def test_without_an_interval_or_a_new_latency_nothing_can_be_said(cluster, benchmark, measured):
    assert reproduced(cluster, measured, refusal()).inside is None
    cluster.change("UPDATE measurement SET median_low_ns = NULL, median_high_ns = NULL")
    cluster.empty_broker()
    assert reproduced(cluster, measured, with_median(1_000_000)).inside is None


def test_the_interval_includes_the_variation_between_runs_where_it_is_known(cluster, measured):
    for number in range(6):
        row = reproduce.start(cluster.engine, cluster.broker, measured.benchmark)
        finish_benchmark(cluster, row, with_median(1_000_000 + number % 2 * 100_000, 980_000, 1_020_000))
    cluster.empty_broker()
    comparison = reproduced(cluster, measured, with_median(1_060_000))
    assert comparison.inside and comparison.old["between_runs"] > 0.09


def test_a_reproduction_changes_neither_the_result_nor_the_digest_nor_the_campaign(cluster, measured):
    before = digests(cluster.engine), queries.latencies(cluster.engine, "night")[0]["median_ns"]
    noisy = with_median(900_000, verdict=Verdict.NOISY, reasons=(Reason.SPREAD,))
    reproduced(cluster, measured, noisy)
    cluster.empty_broker()
    reproduced(cluster, measured, with_median(2_000_000))
    assert (digests(cluster.engine), queries.latencies(cluster.engine, "night")[0]["median_ns"]) == before
    assert cluster.rows("SELECT run, purpose, state FROM benchmark ORDER BY run") == [
        {"run": 1, "purpose": "first", "state": "done"},
        {"run": 2, "purpose": "reproduce", "state": "done"},
        {"run": 3, "purpose": "reproduce", "state": "done"},
    ]
    assert queries.campaigns(cluster.engine, "night")[0].ended


def test_what_cannot_be_reproduced_is_an_error(cluster, benchmark):
    engine, broker, selection = cluster.engine, cluster.broker, Selection(benchmark=benchmark)
    with pytest.raises(NnliteError, match="not measured yet"):
        reproduce.results_to_reproduce(engine, selection)
    with pytest.raises(NnliteError, match="is being measured"):
        reproduce.start(engine, broker, benchmark)
    finish_benchmark(cluster, benchmark, refusal())
    with pytest.raises(NnliteError, match=r"no latency to reproduce; cpu: invalid \(runtime\)"):
        reproduce.results_to_reproduce(engine, selection)
    control.pause(engine, "night")
    with pytest.raises(NnliteError, match="nnlite resume night"):
        reproduce.start(engine, broker, benchmark)
    control.cancel(engine, "night")
    with pytest.raises(NnliteError, match="is cancelled"):
        reproduce.start(engine, broker, benchmark)


def test_a_model_names_its_result_if_it_has_one(cluster, measured):
    engine = cluster.engine
    assert reproduce.result_of_model(engine, "one", "fp32") == measured
    assert reproduce.result_of_model(engine, "other", "fp32") is None
    with pytest.raises(NnliteError, match="one has no latency in int8"):
        reproduce.result_of_model(engine, "one", "int8")
    conversion = cluster.conversion(cluster.submit("one", name="day", pools=("phones",)).id)["id"]
    (message,) = finish_conversion(cluster, conversion, cached=True)
    finish_benchmark(cluster, message.row_id)
    said = rf"2 times: name one of {message.row_id} \(day, phones, run 1: cpu threads 1\)"
    with pytest.raises(NnliteError, match=said):
        reproduce.result_of_model(engine, "one", "fp32")


def test_models_that_share_a_measurement_have_one_comparison(cluster):
    cluster.submit("one", "two", name="night", pools=("phones",))
    (one,) = cluster.rows(
        "SELECT v.id, v.identity FROM conversion v JOIN model m ON m.id = v.model_id WHERE m.name = 'one'"
    )
    (message,) = finish_conversion(cluster, one["id"])
    finish_benchmark(cluster, message.row_id)
    for table in ("model", "conversion"):
        cluster.change(f"UPDATE {table} SET identity = :identity", identity=one["identity"])
    (row,) = reproduce.results_to_reproduce(cluster.engine, Selection(benchmark=message.row_id))
    assert row["model"] == "one"


def test_a_run_that_nobody_waits_for_is_cancelled_for_good(cluster, measured):
    added = reproduce.start(cluster.engine, cluster.broker, measured.benchmark)
    assert reproduce.progress(cluster.engine, added)["state"] == "queued"
    assert reproduce.serving_devices(cluster.engine, "phones") == ["lab-phone (ready)"]
    assert reproduce.serving_devices(cluster.engine, "tablets") == []
    control.cancel_benchmark(cluster.engine, added)
    assert reproduce.progress(cluster.engine, added)["state"] == "cancelled"
    assert cluster.rows("SELECT state FROM benchmark WHERE run = 1") == [{"state": "done"}]
    assert control.retry(cluster.engine, cluster.broker, "night", [WorkState.CANCELLED]) == 0
