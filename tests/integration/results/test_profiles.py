"""Profiles in the database: operators by model and by type, and measurements that have none."""

import json
from itertools import groupby
from operator import itemgetter

import pytest

from integration.canned import finish_benchmark, finish_conversion, measurement
from nnlite.errors import NnliteError
from nnlite.exports.model_explorer import export_node_data
from nnlite.reports.schema import OperatorTime, Profile
from nnlite.results import profiles, queries


def operator(index, name, node, time_ns, share):
    kind = None if node is None else name.upper()
    output = None if node is None else f"tensor {node}"
    return OperatorTime(
        index=index, name=name, delegate="XNNPACK", node=node, type=kind, output=output,
        time_ns=time_ns, share=share,
    )  # fmt: skip


PROFILE = Profile(
    runs=32,
    inference_ns=1_100_000,
    operators=(
        operator(0, "Add", 0, 200_000, 0.2),
        operator(1, "Mul", 1, 600_000, 0.6),
        operator(2, "Add", 2, 150_000, 0.15),
        operator(3, "Unknown", None, 50_000, 0.05),
    ),
)


@pytest.fixture
def profiled(cluster):
    """Measure a model once, with a profile."""

    def run(profile=PROFILE):
        row = cluster.conversion(cluster.submit("one", name="layers", pools=("phones",), profile=True).id)[
            "id"
        ]
        (message,) = finish_conversion(cluster, row)
        return finish_benchmark(cluster, message.row_id, measurement(profile=profile))

    return run


def test_operators_are_listed_in_order_of_execution(cluster, profiled):
    profiled()
    rows = profiles.operators(cluster.engine, "layers", "o*")
    assert [(row["index"], row["type"], row["name"], row["time_ns"]) for row in rows] == [
        (0, "ADD", "Add", 200_000), (1, "MUL", "Mul", 600_000), (2, "ADD", "Add", 150_000),
        (3, None, "Unknown", 50_000),
    ]  # fmt: skip
    assert {(row["model"], row["threads"], row["inference_ns"], row["median_ns"]) for row in rows} == {
        ("one", 1, 1_100_000, 1_000_000)
    }
    assert profiles.operators(cluster.engine, "layers", "t*") == []


def test_operators_are_summed_by_type_the_slowest_first(cluster, profiled):
    profiled()
    rows = profiles.operators(cluster.engine, "layers", by_type=True)
    assert [(row["type"], row["operators"], row["time_ns"]) for row in rows] == [
        ("MUL", 1, 600_000), ("ADD", 2, 350_000), ("Unknown", 1, 50_000),
    ]  # fmt: skip


def test_the_report_in_the_database_leaves_operators_to_their_table(cluster, profiled):
    profiled()
    (report,) = queries.reports(cluster.engine, "layers")
    assert report["measurements"][0]["profile"] == {"error": None, "runs": 32, "inference_ns": 1_100_000}


@pytest.mark.parametrize("operators", [PROFILE.operators[:2], ()])
def test_a_benchmark_that_is_measured_again_replaces_its_operators(cluster, profiled, operators):
    claim = profiled()
    cluster.change("UPDATE benchmark SET state = 'queued'")
    again = PROFILE.model_copy(update={"operators": operators})
    finish_benchmark(cluster, claim.id, measurement(profile=again))
    assert len(profiles.operators(cluster.engine)) == len(operators)


def test_what_cannot_be_profiled_says_why(cluster, profiled):
    profiled(Profile(error="the app has no profiler"))
    assert profiles.operators(cluster.engine) == []
    assert profiles.missing(cluster.engine, "layers", "o*") == [
        {"error": "the app has no profiler", "measurements": 1}
    ]
    assert profiles.missing(cluster.engine, "layers", "t*") == []


def test_profiles_of_measurements_that_share_all_names_stay_apart(cluster, tmp_path):
    submitted = cluster.submit("one", name="n" * 150, pools=("phones", "others"), profile=True)
    for message in finish_conversion(cluster, cluster.conversion(submitted.id)["id"]):
        finish_benchmark(cluster, message.row_id, measurement(profile=PROFILE))
    rows = profiles.operators(cluster.engine)
    assert [len(list(group)) for _, group in groupby(rows, key=itemgetter(*profiles.KEY))] == [4, 4]
    export_node_data(cluster.engine, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_node_data_are_one_file_for_each_profile(cluster, profiled, tmp_path):
    with pytest.raises(NnliteError, match="nothing was written: there is no result; nnlite run"):
        export_node_data(cluster.engine, tmp_path)
    profiled()
    exported = export_node_data(cluster.engine, tmp_path, "layers")
    (file,) = exported.files
    (row,) = cluster.rows("SELECT id FROM measurement")
    assert file.name == f"{str(row['id'])[:8]}-layers-one-fp32-lab-phone-cpu-1.json"
    assert json.loads(file.read_text())["results"]["tensor 1"] == {"value": 0.6}
    assert exported.unattributed == pytest.approx(0.05)
