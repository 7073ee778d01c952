"""`nnlite export nngpt` and efficiency in the results: what NN-GPT learns from."""

import json

import pytest

from generated import Tree
from integration.canned import finish_benchmark, finish_conversion, measurement, refusal
from nnlite.campaigns import reproduce
from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import submit
from nnlite.catalog.nngpt.source import NnGptSource, tag_of
from nnlite.cli.presenting.presentation import result_columns, result_row
from nnlite.errors import NnliteError
from nnlite.exports.edge_export import EdgeChoice, export_edge_tracker
from nnlite.results import queries
from nnlite.vocabulary import Mode, Verdict


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "lab")


@pytest.fixture
def submitted(cluster, tree):
    """Submit the tree and return the conversion of each tag."""

    def run(name="generation", folder="", **request):
        source = NnGptSource(cluster.settings, path=[tree.root / folder])
        submit(
            cluster.engine,
            cluster.broker,
            Request(source="nngpt", path=(str(tree.root),), **request),
            models=source.models(),
            source=source,
            settings=cluster.settings,
            name=name,
            priority=5,
        )
        rows = cluster.rows(
            "SELECT v.id, m.name FROM conversion v JOIN model m ON m.id = v.model_id "
            "JOIN campaign c ON c.id = v.campaign_id WHERE c.name = :name",
            name=name,
        )
        return {tag_of(row["name"]): row["id"] for row in rows}

    return run


@pytest.fixture
def exported(cluster, tmp_path):
    """Export, and return the tracker."""

    def run(param_limit=6_000_000, **choice):
        folder = tmp_path / "edge"
        done = export_edge_tracker(
            cluster.engine, folder, EdgeChoice(**choice), param_limit=param_limit, store_url="/store"
        )
        assert list(folder.iterdir()) == [folder / "edge_tracker.json"]
        return json.loads(done.path.read_text())

    return run


def measure(cluster, conversion, *reports, **artifact):
    (message,) = finish_conversion(cluster, conversion, **artifact)
    return finish_benchmark(cluster, message.row_id, *reports)


def by_tag(tracker):
    return {model["tag"]: model for model in tracker["per_model"]}


def test_a_measured_model_has_the_latency_of_the_device(cluster, tree, submitted, exported):
    tree.model("A0_B0", accuracy=0.8)
    measure(cluster, submitted()["A0_B0"])
    written = exported()
    model = by_tag(written)["A0_B0"]
    assert (model["latency_ms"], model["efficiency"]) == (1.0, 0.8)
    assert model["latency_source"] == "host/lab-phone cpu fp32"
    assert (model["params"], model["param_gate_ok"], model["eligible"]) == (1234, True, True)
    assert (model["tflite_ok"], model["tflite_path"]) == (True, "/store/00/canary.tflite")
    assert (written["best_model"], written["best_efficiency"], written["input_size"]) == ("A0_B0", 0.8, 8)
    assert written["epoch_root"] == str(tree.epochs)
    assert model["nn_file"] == str(tree.folder("A0_B0") / "new_nn.py")


def test_a_latency_of_another_mode_says_so(cluster, tree, submitted, exported):
    tree.model("A0_B0")
    measure(cluster, submitted(mode=Mode.QUICK)["A0_B0"])
    assert by_tag(exported())["A0_B0"]["latency_source"] == "host/lab-phone cpu fp32 quick"


def test_a_model_without_measurement_has_a_reason(cluster, tree, submitted, exported):
    for tag in ("A0_B0", "A0_B1", "A0_B3", "A0_B5"):
        tree.model(tag)
    tree.reject("A0_B2")
    tree.folder("A0_B4")
    rows = submitted()
    measure(cluster, rows["A0_B0"], refusal(error="unknown operator"))
    measure(cluster, rows["A0_B1"], measurement(verdict=Verdict.NOISY))
    cluster.change(
        "UPDATE conversion SET state = 'failed', stage = 'lower', reason = 'no lowering' WHERE id = :id",
        id=rows["A0_B5"],
    )
    models = by_tag(exported())
    assert "unknown operator" in models["A0_B0"]["error"]
    assert models["A0_B1"]["error"].startswith("noisy")
    rejected = models.pop("A0_B2")
    assert rejected["pre_eval_rejected"] is True
    assert rejected["rejection_reason"]
    assert (rejected["novel"], rejected["eligible"], rejected["accuracy"]) == (False, False, None)
    assert models["A0_B3"]["error"] == "not converted yet"
    assert (models["A0_B5"]["tflite_ok"], models["A0_B5"]["tflite_error"]) == (False, "no lowering")
    assert all(m["latency_ms"] is m["latency_source"] is m["efficiency"] is None for m in models.values())
    assert "A0_B4" not in models, "without code there never was a model"


def test_the_median_of_several_valid_measurements_counts(cluster, tree, submitted, exported):
    tree.model("A0_B0")
    for name, median_ns in (("one", 1_000_000), ("two", 3_000_000), ("three", 5_000_000)):
        claim = measure(cluster, submitted(name)["A0_B0"])
        cluster.change(
            "UPDATE measurement SET median_ns = :ns WHERE benchmark_id = :id", ns=median_ns, id=claim.id
        )
    assert by_tag(exported())["A0_B0"]["latency_ms"] == 3.0
    assert by_tag(exported(campaigns=["three"]))["A0_B0"]["latency_ms"] == 5.0


def test_a_reproduction_does_not_count(cluster, tree, submitted, exported):
    tree.model("A0_B0")
    first = measure(cluster, submitted()["A0_B0"])
    again = reproduce.start(cluster.engine, cluster.broker, first.id)
    finish_benchmark(cluster, again)
    cluster.change("UPDATE measurement SET median_ns = 9 WHERE benchmark_id = :id", id=again)
    assert by_tag(exported())["A0_B0"]["latency_ms"] == 1.0


def test_the_latency_with_the_fewest_threads_counts_unless_others_are_asked_for(
    cluster, tree, submitted, exported
):
    tree.model("A0_B0")
    row = submitted(threads=(2, 4))["A0_B0"]
    measure(cluster, row, *(measurement(threads=threads) for threads in (2, 4)))
    cluster.change("UPDATE measurement SET median_ns = median_ns / threads")
    model = by_tag(exported())["A0_B0"]
    assert (model["latency_ms"], model["latency_source"]) == (0.5, "host/lab-phone cpu fp32 2 threads")
    model = by_tag(exported(threads=4))["A0_B0"]
    assert (model["latency_ms"], model["latency_source"]) == (0.25, "host/lab-phone cpu fp32 4 threads")
    assert by_tag(exported(threads=3))["A0_B0"]["error"] == "no measurement on cpu int8 3 threads"


def test_int8_is_the_default_precision(cluster, tree, submitted, exported):
    tree.model("A0_B0")
    measure(cluster, submitted("one")["A0_B0"])
    measure(cluster, submitted("two")["A0_B0"], precision="int8", cache_key="int8")
    assert by_tag(exported())["A0_B0"]["latency_source"].endswith("cpu int8")
    assert by_tag(exported(precision="fp32"))["A0_B0"]["latency_source"].endswith("cpu fp32")
    assert by_tag(exported(precision="fp16"))["A0_B0"]["error"] == "no measurement on cpu fp16"


def test_of_two_runs_in_the_same_folders_the_newer_one_is_scored(cluster, tree, submitted, exported):
    tree.model("A0_B0", accuracy=0.1)
    submitted("first run")
    tree.model(
        "A0_B0", accuracy=0.9, code=tree.folder("A0_B0").joinpath("new_nn.py").read_text() + "# again\n"
    )
    submitted("second run")
    assert by_tag(exported())["A0_B0"]["accuracy"] == 0.9
    assert by_tag(exported(campaigns=["first run"]))["A0_B0"]["accuracy"] == 0.1


def test_a_ready_file_gives_the_latency_of_a_model_that_has_none(
    cluster, tree, submitted, exported, tmp_path
):
    tree.model("A0_B0", accuracy=0.5)
    tree.ready("A0_B0")
    submitted("code")
    (conversion,) = submitted("ready", "out/edge/tflite").values()
    measure(cluster, conversion, precision="int8", cache_key="int8")
    model = by_tag(exported())["A0_B0"]
    assert (model["latency_ms"], model["accuracy"], model["error"]) == (1.0, 0.5, None)
    assert model["latency_source"].endswith("cpu int8")


def test_a_refused_precision_has_a_reason(cluster, tree, submitted, exported):
    for tag in ("A0_B0", "A0_B1"):
        tree.model(tag)
    rows = submitted()
    for tag in rows:
        finish_conversion(cluster, rows[tag])
    cluster.change(
        "INSERT INTO refused_precision (conversion_id, cache_key, precision, converter, stage, reason, "
        "details) "
        "VALUES (:id, 'k', 'int8', 'c', 'quantize', 'no calibration data', '{}')",
        id=rows["A0_B1"],
    )
    model = by_tag(exported(precision="int8"))["A0_B1"]
    assert (model["tflite_ok"], model["tflite_error"], model["error"]) == (False, "no calibration data", None)


def test_results_show_efficiency_and_the_gate(cluster, tree, submitted):
    tree.model("A0_B0", accuracy=0.8)
    measure(cluster, submitted()["A0_B0"])
    (row,) = queries.latencies(cluster.engine)
    assert (row["efficiency"], row["param_gate_ok"], row["accuracy"]) == (0.8, True, 0.8)
    shown = result_row(row)
    assert shown["efficiency"] == "0.800000"
    assert {"accuracy", "efficiency"} <= set(result_columns([shown]))
    (beyond,) = queries.latencies(cluster.engine, param_limit=1000)
    assert result_row(beyond)["efficiency"] == "too many parameters"


def test_unknown_names_and_an_empty_database_raise(cluster, exported):
    with pytest.raises(NnliteError, match="nnlite submit --source nngpt"):
        exported()
    with pytest.raises(NnliteError, match="no pool 'phones'"):
        exported(pool="phones")
