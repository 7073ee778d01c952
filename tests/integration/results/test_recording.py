"""What is written of conversions and benchmarks, and what questions about it are answered with.

More than 300 lines: all tests start from the same claimed row and canned reports.
"""

import uuid
from typing import Any

import pytest

from integration.canned import (
    CONTEXT,
    artifact_row,
    claimed,
    finish_benchmark,
    finish_conversion,
    measurement,
    record_lab_phone,
    refusal,
    written,
)
from integration.conftest import Cluster, living_owner
from nnlite.campaigns import control
from nnlite.db.rows import from_row, row_id
from nnlite.db.tables import Artifact
from nnlite.errors import Failure, FailureClass
from nnlite.queue import leases
from nnlite.queue.leases import LeaseLostError
from nnlite.reports.schema import (
    Clocks,
    DelegateRefusal,
    Disturbance,
    Initialization,
    Memory,
    StageMemory,
)
from nnlite.results import queries
from nnlite.results.devices import record_ready
from nnlite.results.recording import cached_artifacts, record_skipped
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import (
    TELLING_LATENCY,
    Backend,
    ClockPolicy,
    Condition,
    DeviceStatus,
    Stage,
    Verdict,
    WorkKind,
    WorkState,
)

POOLS = ("phones",)


def conversions(cluster: Cluster, campaign: str = "night") -> dict[str, uuid.UUID]:
    """The rows of a campaign by model."""
    rows = cluster.rows(
        "SELECT m.name, v.id FROM conversion v JOIN model m ON m.id = v.model_id "
        "JOIN campaign c ON c.id = v.campaign_id WHERE c.name = :name",
        name=campaign,
    )
    return {row["name"]: row["id"] for row in rows}


def benchmarks(cluster: Cluster) -> list[uuid.UUID]:
    return [row["id"] for row in cluster.rows("SELECT id FROM benchmark ORDER BY created_at, pool")]


def one(cluster: Cluster, statement: str) -> dict[str, Any]:
    (row,) = cluster.rows(statement)
    return row


@pytest.fixture
def row(cluster: Cluster) -> uuid.UUID:
    """A queued conversion."""
    return cluster.conversion(cluster.submit("one", name="night", pools=POOLS, priority=7).id)["id"]


def test_a_conversion_writes_its_artifact_and_the_attributes_of_its_model(cluster, row):
    finish_conversion(cluster, row)
    conversion = one(cluster, "SELECT state, cached, timings_ns, peak_rss_kb FROM conversion")
    assert conversion == {
        "state": "done",
        "cached": False,
        "timings_ns": {"lower": 2_000_000_000},
        "peak_rss_kb": 500_000,
    }
    artifact = one(cluster, "SELECT * FROM artifact")
    expected = artifact_row(artifact["identity"])
    assert from_row(Artifact, artifact) == expected and artifact["id"] == expected.id
    assert one(cluster, "SELECT parameters, state_dict_sha256, input_shape FROM model") == {
        "parameters": 1234,
        "state_dict_sha256": "5" * 64,
        "input_shape": [1, 3, 8, 8],
    }


def test_one_benchmark_per_pool_follows_from_a_conversion(cluster):
    row = cluster.conversion(cluster.submit("one", name="night", pools=("phones", "host"), priority=7).id)
    messages = finish_conversion(cluster, row["id"])
    assert [(message.queue, message.display_args, message.priority) for message in messages] == [
        ("benchmark.phones", ("one", "phones"), 7),
        ("benchmark.host", ("one", "host"), 7),
    ]
    assert {message.row_id for message in messages} == set(benchmarks(cluster))
    assert cluster.rows("SELECT DISTINCT state, priority, attempt FROM benchmark") == [
        {"state": "queued", "priority": 7, "attempt": 0}
    ]


def test_a_second_campaign_measures_the_cached_artifact_itself(cluster, row):
    finish_conversion(cluster, row)
    again = cluster.conversion(cluster.submit("one", name="day", pools=POOLS).id)["id"]
    (known,) = cached_artifacts(cluster.engine, [artifact_row(_identity(cluster)).cache_key])
    assert known == artifact_row(_identity(cluster))
    finish_conversion(cluster, again, cached=True)
    assert len(cluster.rows("SELECT id FROM artifact")) == 1
    assert len(benchmarks(cluster)) == 2
    cached = cluster.rows("SELECT cached, timings_ns, peak_rss_kb FROM conversion WHERE id = :id", id=again)
    assert cached == [{"cached": True, "timings_ns": None, "peak_rss_kb": None}]
    (progress,) = queries.campaigns(cluster.engine, "day")
    assert (progress.converted, progress.from_cache) == (1, 1)


def test_unknown_keys_are_not_in_the_cache(cluster, row):
    finish_conversion(cluster, row)
    assert cached_artifacts(cluster.engine, ["another key"]) == []


def test_a_reconverted_artifact_replaces_its_row(cluster, row):
    finish_conversion(cluster, row)
    cluster.change("UPDATE conversion SET state = 'queued'")
    finish_conversion(cluster, row, sha256="e" * 64, path="ee/new.tflite", parity_state="off")
    assert one(cluster, "SELECT sha256, path, parity_state FROM artifact") == {
        "sha256": "e" * 64,
        "path": "ee/new.tflite",
        "parity_state": "off",
    }


def test_an_artifact_is_benchmarked_once_per_campaign_and_pool(cluster, row):
    first = finish_conversion(cluster, row)
    finish_benchmark(cluster, first[0].row_id)
    cluster.change("UPDATE conversion SET state = 'queued'")
    again = finish_conversion(cluster, row)
    assert [message.row_id for message in again] == [message.row_id for message in first]
    assert one(cluster, "SELECT state FROM benchmark") == {"state": "done"}, "what is measured stays so"


def test_a_conversion_that_lost_its_right_leaves_no_row(cluster, row):
    late = claimed(cluster, WorkKind.CONVERSION, row)
    control.cancel(cluster.engine, "night")
    with pytest.raises(LeaseLostError):
        leases.finish(cluster.engine, late, lambda connection: record_skipped(connection, late, 5))
    assert one(cluster, "SELECT parameters FROM model") == {"parameters": None}


def test_a_model_that_is_too_large_after_all_keeps_its_parameter_count(cluster, row):
    claim = claimed(cluster, WorkKind.CONVERSION, row)
    leases.finish(
        cluster.engine,
        claim,
        lambda connection: record_skipped(connection, claim, 2_000_000),
        state=WorkState.SKIPPED,
        reason="2,000,000 parameters",
    )
    assert one(cluster, "SELECT parameters FROM model") == {"parameters": 2_000_000}
    (skipped,) = queries.failures(cluster.engine, "night")
    assert (skipped["state"], skipped["class"], skipped["reason"]) == (
        "skipped",
        None,
        "2,000,000 parameters",
    )


def test_a_benchmark_writes_one_measurement_per_backend(cluster, row):
    (message,) = finish_conversion(cluster, row)
    finish_benchmark(cluster, message.row_id, measurement(), refusal(Backend.GPU, "no delegate"))
    cpu, gpu = cluster.rows("SELECT * FROM measurement ORDER BY backend")
    assert (cpu["kind"], cpu["verdict"], cpu["median_ns"], cpu["p95_ns"], cpu["attempt"]) == (
        "phone",
        "valid",
        1_000_000,
        None,
        1,
    )
    assert cpu["samples_ns"] == [1_000_000, 1_000_000, 1_300_000]
    assert (gpu["verdict"], gpu["error"], gpu["median_ns"], gpu["samples_ns"]) == (
        "invalid",
        "no delegate",
        None,
        [],
    )


def test_a_benchmark_writes_one_measurement_per_number_of_threads(cluster):
    row = cluster.conversion(cluster.submit("one", pools=("phones",), threads=(1, 4)).id)["id"]
    (message,) = finish_conversion(cluster, row)
    finish_benchmark(cluster, message.row_id, measurement(), measurement(threads=4, init_ns=9))
    measured = cluster.rows("SELECT threads, init_ns FROM latency ORDER BY threads")
    assert [tuple(each.values()) for each in measured] == [(1, 5_000_000), (4, 9)]


def test_the_id_of_a_measurement_without_asked_threads_is_that_of_earlier_releases(cluster, row):
    (message,) = finish_conversion(cluster, row)
    finish_benchmark(cluster, message.row_id, measurement(threads=3))
    assert one(cluster, "SELECT id FROM measurement") == {"id": row_id("measurement", message.row_id, "cpu")}


def test_the_whole_report_of_a_benchmark_can_be_had(cluster, row):
    (message,) = finish_conversion(cluster, row)
    finish_benchmark(cluster, message.row_id)
    (report,) = queries.reports(cluster.engine, "night", "o*")
    assert (report["model_name"], report["device_type"], report["os_version"]) == ("one", "Pixel 4", "11")
    assert (report["valid"], report["emulator"], report["duration"]) == (True, False, 1_100_000)
    assert "samples_ns" not in report["measurements"][0], "samples have a column"
    assert queries.reports(cluster.engine, "night", "t*") == []


def test_a_benchmark_that_is_measured_again_replaces_its_measurement(cluster, row):
    (message,) = finish_conversion(cluster, row)
    finish_benchmark(cluster, message.row_id)
    cluster.change("UPDATE benchmark SET state = 'queued'")
    finish_benchmark(cluster, message.row_id, measurement(verdict=Verdict.NOISY, init_ns=9))
    replaced = one(cluster, "SELECT verdict, init_ns, attempt FROM measurement")
    assert replaced == {"verdict": "noisy", "init_ns": 9, "attempt": 2}


def test_a_measurement_of_a_benchmark_that_was_given_to_another_is_not_written(cluster, row):
    (message,) = finish_conversion(cluster, row)
    record_ready(cluster.engine, CONTEXT, None)
    late = claimed(cluster, WorkKind.BENCHMARK, message.row_id)
    cluster.change("UPDATE benchmark SET lease_until = now() - interval '1 s'")
    leases.requeue_expired(cluster.engine, WorkKind.BENCHMARK, QueueSettings())
    with pytest.raises(LeaseLostError):
        leases.finish(cluster.engine, late, lambda connection: written(connection, late))
    assert cluster.rows("SELECT id FROM measurement") == []


def test_a_device_is_one_row_with_its_current_state(cluster):
    first = record_ready(cluster.engine, CONTEXT, "benchmark@here")
    second = record_lab_phone(cluster, DeviceStatus.STOPPED)
    assert first == second
    device = one(cluster, "SELECT name, kind, pool, state, owner_node, context FROM device")
    assert device.pop("context")["cpu"]["features"] == ["neon"]
    assert device == {
        "name": "lab-phone",
        "kind": "phone",
        "pool": "phones",
        "state": "stopped",
        "owner_node": None,
    }


@pytest.fixture
def twins(cluster: Cluster) -> None:
    """Two models that differ in their name alone, converted one after the other."""
    first = cluster.toys.add("one")
    cluster.toys.add("uno", code_sha256=first.code_sha256)
    cluster.submit("one", "uno", name="night", pools=POOLS)
    rows = conversions(cluster)
    finish_conversion(cluster, rows["one"])
    finish_conversion(cluster, rows["uno"], cached=True)


def test_models_that_differ_in_name_alone_share_one_benchmark_and_are_both_answered(cluster, twins):
    (benchmark,) = benchmarks(cluster)
    finish_benchmark(cluster, benchmark)
    rows = queries.latencies(cluster.engine, "night")
    assert [(row["model"], row["median_ns"]) for row in rows] == [("one", 1_000_000), ("uno", 1_000_000)]
    assert len({row["benchmark_id"] for row in rows}) == 1
    (progress,) = queries.campaigns(cluster.engine, "night")
    assert (progress.finished, progress.ended) == (2, True)


def test_latencies_are_filtered_by_campaign_and_by_a_literal_pattern(cluster):
    cluster.submit("a_b", "axb", "100%", name="night", pools=POOLS)
    cluster.submit("a_b", name="day", pools=POOLS)
    for campaign in ("night", "day"):
        for row in conversions(cluster, campaign).values():
            (message,) = finish_conversion(cluster, row)
            finish_benchmark(cluster, message.row_id)

    def found(campaign: str | None, model: str | None) -> list[str]:
        return [row["model"] for row in queries.latencies(cluster.engine, campaign, model)]

    assert found("night", None) == ["100%", "a_b", "axb"]
    assert found("night", "a*b") == ["a_b", "axb"]
    assert found("night", "a_b") == ["a_b"]
    assert found("night", "100%") == ["100%"]
    assert found(None, "a_b") == ["a_b", "a_b"]
    assert found("night", "nothing*") == []


def test_every_model_without_a_result_is_listed_with_class_stage_reason_and_evidence(cluster):
    cluster.toys.add("huge", skipped="input 1024 x 1024 is above 512")
    cluster.submit("huge", "broken", "wrong", "crashing", "unlucky", "fine", name="night", pools=POOLS)
    rows = conversions(cluster)
    for line, name in enumerate(("broken", "wrong")):
        details = {"operator": "sort", "cause": "no sorting"}
        _fail(cluster, rows[name], Failure(FailureClass.MODEL, Stage.EXPORT, f"no, at a.py:{line}", details))
    for _ in range(3):
        _fail(cluster, rows["crashing"], Failure(FailureClass.CONVERTER, Stage.LOWER, "killed by SIGABRT"))
    (message,) = finish_conversion(cluster, rows["unlucky"])
    adb = Failure(FailureClass.DEVICE, Stage.INITIALIZE, "adb offline")
    for _ in range(4):
        _fail(cluster, message.row_id, adb, WorkKind.BENCHMARK)
    finish_conversion(cluster, rows["fine"])

    listed = queries.failures(cluster.engine, "night")
    assert [
        (row["model"], row["work"], row["state"], row["class"], row["stage"], row["reason"], row["attempts"])
        for row in listed
    ] == [
        ("broken", "conversion", "failed", "model", "export", "no, at a.py:0", 1),
        ("wrong", "conversion", "failed", "model", "export", "no, at a.py:1", 1),
        ("crashing", "conversion", "quarantined", "converter", "lower", "killed by SIGABRT", 3),
        ("unlucky", "benchmark", "quarantined", "device", "initialize", "adb offline", 4),
        ("huge", "conversion", "skipped", None, None, "input 1024 x 1024 is above 512", 0),
    ]
    assert listed[0]["details"] == {"operator": "sort", "cause": "no sorting"}
    summed = cluster.rows("SELECT reason, models FROM failure_summary WHERE failure_class = 'model'")
    assert summed == [{"reason": "no sorting", "models": 2}], "equal causes at other lines are one row"
    assert queries.failures(cluster.engine, "day") == []
    (progress,) = queries.campaigns(cluster.engine, "night")
    assert (progress.failed, progress.skipped, progress.remaining) == (4, 1, 1)


def test_progress_counts_every_model_once(cluster):
    cluster.toys.add("huge", skipped="too large")
    cluster.submit("a", "b", "c", "d", "huge", name="night", pools=("phones", "host"))
    rows = conversions(cluster)

    def counts() -> dict[str, int | bool]:
        (progress,) = queries.campaigns(cluster.engine, "night")
        assert progress.finished + progress.remaining == progress.models == 5
        return {name: value for name, value in progress.as_dict().items() if value and name in _COUNTED}

    assert counts() == {"conversions_queued": 4, "remaining": 4, "finished": 1}
    claimed(cluster, WorkKind.CONVERSION, rows["a"])
    assert counts() == {"conversions_queued": 3, "converting": 1, "remaining": 4, "finished": 1}
    _fail(cluster, rows["b"], Failure(FailureClass.MODEL, Stage.EXPORT, "no"))
    messages = finish_conversion(cluster, rows["c"])
    assert counts() == {
        "conversions_queued": 1, "converting": 1, "converted": 1, "benchmarks_queued": 2,
        "models_measuring": 1, "failed": 1, "remaining": 3, "finished": 2,
    }  # fmt: skip
    for message in messages:
        finish_benchmark(cluster, message.row_id)
    assert counts() == {
        "conversions_queued": 1, "converting": 1, "converted": 1, "measured": 2, "failed": 1,
        "remaining": 2, "finished": 3,
    }  # fmt: skip
    control.cancel(cluster.engine, "night")
    assert counts() == {"converted": 1, "measured": 2, "failed": 1, "finished": 5, "ended": True}


_COUNTED = {
    "conversions_queued", "converting", "converted", "benchmarks_queued", "models_measuring", "measuring",
    "measured", "failed", "remaining", "finished", "ended",
}  # fmt: skip


def test_campaigns_are_listed_newest_first(cluster):
    for name in ("first", "second"):
        cluster.submit("one", name=name)
    assert [progress.name for progress in queries.campaigns(cluster.engine)] == ["second", "first"]
    assert queries.campaigns(cluster.engine, "third") == []


def test_running_work_is_listed_with_stage_and_duration(cluster, row):
    claim = claimed(cluster, WorkKind.CONVERSION, row)
    leases.heartbeat(cluster.engine, claim, 30, Stage.LOWER)
    (now,) = queries.running(cluster.engine, "night")
    assert now.pop("seconds") >= 0
    assert now == {
        "work": "conversion", "model": "one", "device": None, "backend": None, "stage": "lower",
        "worker": "convert@here", "attempt": 1,
    }  # fmt: skip
    assert queries.running(cluster.engine, "day") == []


def test_a_benchmark_that_runs_is_listed_with_its_device_and_backend(cluster, row):
    (message,) = finish_conversion(cluster, row)
    record_ready(cluster.engine, CONTEXT, living_owner().node)
    claim = claimed(cluster, WorkKind.BENCHMARK, message.row_id)
    leases.heartbeat(cluster.engine, claim, 30, Stage.WARM_UP, Backend.GPU)
    leases.heartbeat(cluster.engine, claim, 30)
    (now,) = queries.running(cluster.engine, "night")
    assert (now["device"], now["backend"], now["stage"]) == ("lab-phone", "gpu", "warm-up")


@pytest.mark.parametrize("how", ["done", "failed", "cancelled"])
def test_a_benchmark_that_has_ended_measures_nothing(cluster, row, how):
    (message,) = finish_conversion(cluster, row)
    record_ready(cluster.engine, CONTEXT, "benchmark@here")
    claim = claimed(cluster, WorkKind.BENCHMARK, message.row_id)
    leases.heartbeat(cluster.engine, claim, 30, Stage.RUN, Backend.GPU)
    match how:
        case "done":
            leases.finish(cluster.engine, claim, lambda connection: written(connection, claim))
        case "failed":
            leases.fail(
                cluster.engine, claim, Failure(FailureClass.DEVICE, Stage.RUN, "gone"), QueueSettings()
            )
        case "cancelled":
            control.cancel(cluster.engine, "night")
    assert one(cluster, "SELECT backend FROM benchmark") == {"backend": None}


def _identity(cluster: Cluster) -> str:
    return cluster.toys.models()[0].identity


def _fail(cluster: Cluster, row: uuid.UUID, failure: Failure, kind: WorkKind = WorkKind.CONVERSION) -> None:
    leases.fail(cluster.engine, claimed(cluster, kind, row), failure, QueueSettings())


def test_initialization_and_memory_by_stage_are_columns_of_the_result(cluster, row):
    (message,) = finish_conversion(cluster, row)
    names = ("load", "first_run", "steady")
    stages = {name: StageMemory(model_kb=n, process_kb=100 * n) for n, name in enumerate(names, 1)}
    initialization = Initialization(cache="weights", init_cold_ns=70, init_warm_ns=5)
    report = measurement(initialization=initialization, memory=Memory(**stages))
    finish_benchmark(cluster, message.row_id, report)

    (result,) = queries.latencies(cluster.engine, "night")

    assert (result["init_cold_ns"], result["init_warm_ns"]) == (70, 5)
    assert [result[f"{name}_model_kb"] for name in names] == [1, 2, 3]
    assert [result[f"{name}_process_kb"] for name in names] == [100, 200, 300]


def test_what_a_phones_number_depends_on_and_what_a_delegate_refused_are_rows(cluster, row):
    (message,) = finish_conversion(cluster, row)
    asked, gpu = ClockPolicy.FIXED, Backend.GPU
    refused = DelegateRefusal(operator="CAST", reason="Operation is not supported.")
    finish_benchmark(
        cluster,
        message.row_id,
        measurement(
            clocks=Clocks(policy=ClockPolicy.FREE, asked=asked, note="no power HAL"),
            conditions=(Condition.CHARGING,),
        ),
        measurement(gpu, clocks=Clocks(policy=asked, asked=asked), delegate_refusals=(refused,)),
    )

    cpu, of_gpu = sorted(queries.latencies(cluster.engine, "night"), key=lambda result: result["backend"])
    (refusal_row,) = cluster.rows("SELECT * FROM delegate_refusals")

    assert (cpu["clocks"], cpu["conditions"]) == ("free", ["charging"])
    assert (of_gpu["clocks"], of_gpu["conditions"]) == ("fixed", [])
    names = ("campaign", "model", "backend", "operator", "nodes", "reason")
    assert tuple(refusal_row[name] for name in names) == (
        "night", "one", "gpu", "CAST", None, "Operation is not supported.",
    )  # fmt: skip


def test_nothing_that_tells_a_withheld_latency_is_shown(cluster, row):
    (message,) = finish_conversion(cluster, row)
    # As releases before wrote it.
    report = measurement(
        verdict=Verdict.INVALID,
        latency=None,
        samples_ns=(),
        first_inference_ns=7,
        run_ns=8,
        warmup_ns=9,
        disturbance=Disturbance(window_ns=8, cores=1),
    )
    finish_benchmark(cluster, message.row_id, report)

    (result,) = queries.latencies(cluster.engine, "night")
    (shown,) = queries.reports(cluster.engine, "night")[0]["measurements"]

    assert result["first_ns"] is None
    assert {shown[name] for name in TELLING_LATENCY} == {None}
