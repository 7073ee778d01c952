"""What a campaign would take, from what was converted and measured before."""

from dataclasses import replace

import pytest

from integration.canned import finish_benchmark, finish_conversion
from integration.conftest import Cluster
from nnlite.artifacts.calibration import CalibrationKind
from nnlite.artifacts.evaluation import EvaluationData
from nnlite.campaigns.estimate import Estimate, estimate
from nnlite.campaigns.request import Request
from nnlite.db.reader import NoDatabase
from nnlite.db.tables import Evaluation
from nnlite.results.evaluations import record_evaluations
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, EvaluateOn, Mode, ModelFormat, Precision
from toys import toy_model

ONE = toy_model("one")


def estimated(database, request: Request, models) -> Estimate:
    return estimate(database, request, models, Settings(evaluation_device_max_s=60))


def test_without_a_database_figures_of_the_documents_are_taken() -> None:
    models = [ONE, toy_model("two"), toy_model("three", skipped="too large")]
    found = estimated(NoDatabase(), Request(precisions=(Precision.FP32, Precision.FP16)), models)
    assert (found.models, found.skipped, found.artifacts, found.converted) == (2, 1, 4, 0)
    assert (found.measurements, found.conversion_s, found.measurement_s) == (4, 24, 24)
    assert found.size_bytes == 2 * (6_161_100 + 3_080_550) + 2 * 6_100 + 4 * 32_500
    assert found.basis == 0


def test_every_precision_has_a_size_before_anything_was_converted() -> None:
    sizes = {
        each: estimated(NoDatabase(), Request(precisions=(each,)), [ONE]).size_bytes for each in Precision
    }
    assert sizes[Precision.MIXED] == sizes[Precision.INT8] < sizes[Precision.FP32]


def test_each_pool_backend_thread_count_and_repeat_is_a_measurement() -> None:
    request = Request(
        pools=("host", "phones"),
        backends=(Backend.CPU, Backend.GPU),
        threads=(1, 2, 4),
        repeat=2,
        mode=Mode.FULL,
    )
    found = estimated(NoDatabase(), request, [ONE])
    assert found.measurements == 2 * (3 + 1) * 2
    assert found.measurement_s == (3 + 1) * 2 * 65


def test_a_pass_takes_its_seconds_and_a_measurement_of_each_first_run() -> None:
    asked = Request(backends=(Backend.CPU, Backend.GPU), repeat=3, sustained=300)
    found = estimated(NoDatabase(), asked, [ONE])
    assert (found.measurements, found.measurement_s) == (6, 6 * 6 + 2 * (300 + 6))
    found = estimated(NoDatabase(), replace(asked, sustained=0, energy=60), [ONE])
    assert found.measurement_s == 6 * 6 + 6 * (60 + 6)


def test_accuracy_on_a_device_takes_the_time_of_its_samples(cluster: Cluster) -> None:
    samples = EvaluationData(kind=CalibrationKind.ARRAYS, samples=500, seed=0, name="x", path="x.zip")
    asked = Request(
        pools=("host", "phones"), backends=(Backend.CPU, Backend.ONNXRUNTIME), threads=(1, 2), repeat=2,
        evaluation=samples, evaluate_on=EvaluateOn.DEVICE,
    )  # fmt: skip
    without = estimated(NoDatabase(), replace(asked, evaluate_on=EvaluateOn.HOST), [ONE])
    found = estimated(NoDatabase(), asked, [ONE])
    assert (without.evaluations, found.evaluations) == (0, 2), "once in each pool, .onnx files never"
    assert found.measurement_s == without.measurement_s + 500 * 0.02

    for name in ("one", "two", "three"):
        conversion = cluster.conversion(cluster.submit(name, name=name).id)
        (message,) = finish_conversion(cluster, conversion["id"])
        finish_benchmark(cluster, message.row_id)
    measured_s = estimated(cluster.engine, replace(asked, evaluate_on=EvaluateOn.HOST), [ONE]).measurement_s
    for median_ms, evaluation_s in ((2, 1), (200, 60)):  # at most as long as the settings allow
        cluster.change(f"UPDATE measurement SET median_ns = {median_ms} * 1000000")
        found = estimated(cluster.engine, asked, [ONE])
        assert found.measurement_s - measured_s == pytest.approx(evaluation_s)


def test_accuracy_on_the_host_takes_time_of_converters_where_it_is_not_known(cluster: Cluster) -> None:
    samples = EvaluationData(kind=CalibrationKind.ARRAYS, samples=500, seed=0, name="x", path="x.zip")
    both = Request(precisions=(Precision.FP32, Precision.INT8), backends=(Backend.CPU, Backend.ONNXRUNTIME))
    asked = replace(both, evaluation=samples)
    without, found = (estimated(NoDatabase(), each, [ONE, toy_model("two")]) for each in (both, asked))
    assert (without.host_evaluations, found.host_evaluations) == (0, 4), ".onnx files never"
    assert found.conversion_s - without.conversion_s == pytest.approx(2 * 3 * 500 * 0.02), "PyTorch's too"
    many = replace(asked, evaluation=replace(samples, samples=100_000))
    assert estimated(NoDatabase(), many, [ONE]).conversion_s == 12 + 300, "at most what the settings allow"

    finish_conversion(cluster, cluster.conversion(cluster.submit("one").id)["id"])
    (artifact,) = cluster.rows("SELECT id FROM artifact")
    known = Evaluation(artifact_id=artifact["id"], data="x.zip", name="x", seed=0, top1=0.5, samples=500)
    with cluster.engine.begin() as connection:
        record_evaluations(connection, [known])
    found = estimated(cluster.engine, asked, [ONE, toy_model("two")])
    assert found.host_evaluations == 3


def test_a_model_has_one_onnx_file_whatever_its_precisions_and_a_prebuilt_one_none() -> None:
    request = Request(
        precisions=(Precision.FP32, Precision.FP16, Precision.INT8),
        backends=(Backend.CPU, Backend.CPU_PLAIN, Backend.ONNXRUNTIME),
        threads=(1, 2),
    )
    found = estimated(NoDatabase(), request, [ONE])
    assert (found.artifacts, found.measurements) == (3 + 1, 3 * 2 * 2 + 2)
    ready = estimated(NoDatabase(), request, [toy_model("ready", model_format=ModelFormat.PREBUILT)])
    assert (ready.artifacts, ready.measurements) == (1, 2 * 2)


def test_an_artifact_in_another_format_is_not_converted_already(cluster: Cluster) -> None:
    finish_conversion(cluster, cluster.conversion(cluster.submit("one").id)["id"], size_bytes=1_000)
    both = Request(backends=(Backend.CPU, Backend.ONNXRUNTIME))
    found = estimated(cluster.engine, both, [ONE])
    assert (found.artifacts, found.converted, found.conversion_s) == (2, 1, 12)
    cluster.change("UPDATE artifact SET path = replace(path, '.tflite', '.onnx')")
    assert estimated(cluster.engine, Request(), [ONE]).converted == 0
    found = estimated(cluster.engine, both, [ONE, toy_model("two")])
    assert found.converted == 1
    assert found.size_bytes == 2 * (6_161_100 + 6_100 + 2 * 32_500) + 1_000


def test_times_and_sizes_are_those_of_this_installation(cluster: Cluster) -> None:
    campaign = cluster.submit("one", "two", "three", name="night", pools=("phones",)).id
    for row in cluster.rows("SELECT id FROM conversion WHERE campaign_id = :id", id=campaign):
        (message,) = finish_conversion(cluster, row["id"], size_bytes=2_000_000)
        finish_benchmark(cluster, message.row_id)
    cluster.change("UPDATE attempt SET started_at = ended_at - interval '30 s' WHERE kind = 'conversion'")
    cluster.change("UPDATE attempt SET started_at = ended_at - interval '9 s' WHERE kind = 'benchmark'")

    found = estimated(cluster.engine, Request(), [ONE, toy_model("four"), toy_model("five")])
    assert (found.artifacts, found.converted, found.basis) == (3, 1, 3)
    assert (found.conversion_s, found.measurement_s) == (pytest.approx(60), pytest.approx(27))
    assert found.size_bytes == 2 * 2_000_000 + 3 * (6_100 + 32_500)
