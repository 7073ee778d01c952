"""nn-dataset's tree, read again as nn-dataset's importer reads it.

More than 300 lines: all tests read what the same two fixtures measure and export.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.canned import (
    CONTEXT,
    ONE_RUN,
    claimed,
    finish_benchmark,
    finish_conversion,
    measurement,
    refusal,
)
from integration.conftest import Cluster
from nnlite.campaigns import reproduce
from nnlite.errors import NnliteError
from nnlite.exports.lemur_tree import Choice, Exported, TreeLayout, export_lemur
from nnlite.queue import leases
from nnlite.reports.schema import BenchmarkReport, DeviceContext, Gating, Latency, MeasurementReport
from nnlite.results.devices import record_ready
from nnlite.results.recording import record_benchmark
from nnlite.vocabulary import Backend, DeviceKind, Mode, Precision, Reason, Verdict, WorkKind

#: What the importer takes of a record, besides `device_analytics`.
FIELDS = [
    "model_name", "device_type", "os_version", "valid", "emulator", "error_message", "duration", "iterations",
    "unit",
    *(f"{backend}_{name}" for backend in ("cpu", "gpu", "npu")
      for name in ("duration", "min_duration", "max_duration", "std_dev", "error")),
    "total_ram_kb", "free_ram_kb", "available_ram_kb", "cached_kb",
    "in_dim_0", "in_dim_1", "in_dim_2", "in_dim_3",
]  # fmt: skip

#: The order in which NN Lite publishes them: https://github.com/ABrain-One/nn-lite, ab/lite/results.py.
PUBLISHED = [
    "model_name", "device_type", "os_version", "valid", "emulator", "iterations", "duration", "unit",
    "cpu_duration", "cpu_min_duration", "cpu_max_duration", "cpu_std_dev",
    "gpu_duration", "gpu_min_duration", "gpu_max_duration", "gpu_std_dev",
    "npu_duration", "npu_min_duration", "npu_max_duration", "npu_std_dev",
    "total_ram_kb", "free_ram_kb", "available_ram_kb", "cached_kb",
    "in_dim_0", "in_dim_1", "in_dim_2", "in_dim_3", "device_analytics",
]  # fmt: skip

FOLDER = "fp32/img-classification_cifar-10_acc_one"
PHONE = f"{FOLDER}/android_lab-phone.json"
Import = tuple[dict[tuple[Any, ...], dict[str, Any]], dict[tuple[Any, ...], dict[str, Any]]]


def imported(root: Path) -> Import:
    """Read a tree as nn-dataset does: every file below fp32 and int8, a later equal key replaces.

    After https://github.com/ABrain-One/nn-dataset, ab/nn/util/db/Write.py (json_run_tflite_to_db): rows of
    its tables `run` and `tflite`, by what it hashes to their ids.
    """
    runs, models = {}, {}
    for precision in ("fp32", "int8"):
        folder = root / "ab/nn/stat/run/tflite" / precision
        catalogue = folder / "all_models.json"
        known = json.loads(catalogue.read_text("utf-8")) if catalogue.exists() else {}
        for file in folder.rglob("*.json"):
            if file.name == "all_models.json":
                continue
            said = json.loads(file.read_text("utf-8"))
            row = {name: said.get(name) for name in FIELDS}
            row["device_analytics_json"] = json.dumps(said.get("device_analytics"))
            row["precision_type"] = precision
            key = (
                file.name,
                row["model_name"],
                row["device_type"],
                row["os_version"],
                row["duration"],
                precision,
            )
            runs[key] = row
            about = known.get(row["model_name"], {})
            if about.get("accuracy") is not None or about.get("transform") is not None:
                models[file.name, row["model_name"], *about.values(), precision] = about
    return runs, models


def candidates(root: Path) -> dict[str, list[bool]]:
    """Read int8's tree as the index of candidates of NN-GPT's mobile pipeline: model -> `valid` of each file.

    After https://github.com/ABrain-One/nn-gpt, ab/gpt/act/edge/iterative_finetune.py
    (_build_mobile_candidate_index), which looks for the tree at `analytics/int8`, and takes what follows the
    prefix of a folder's name for the name that LEMUR's code has.
    """
    prefix = "img-classification_cifar-10_acc_"
    return {
        folder.name.replace(prefix, "", 1): [
            json.loads(file.read_text("utf-8")).get("valid", False)
            for file in sorted(folder.glob("android_*.json"))
        ]
        for folder in (root / "ab/nn/stat/run/tflite/int8").glob(f"{prefix}*")
        if folder.is_dir()
    }


def latency(mean_ns: int) -> Latency:
    return Latency(
        mean_ns=mean_ns, median_ns=mean_ns, p90_ns=mean_ns, p95_ns=None, p99_ns=None, min_ns=mean_ns - 10,
        max_ns=mean_ns + 10, std_ns=7, cv=0.1, mad_ratio=0.0, slice_drift=None,
    )  # fmt: skip


Measure = Callable[..., None]


@pytest.fixture
def measure(cluster: Cluster) -> Measure:
    """Measure a toy: `measure("one", gpu, cpu, campaign="night", device={...})`."""

    def run(
        model: str,
        *reports: MeasurementReport,
        campaign: str = "night",
        device: dict[str, Any] | None = None,
        mode: Mode = Mode.STANDARD,
        threads: tuple[int, ...] = (),
        **artifact: Any,
    ) -> None:
        context = DeviceContext(**(CONTEXT.model_dump() | (device or {})))
        pools = (context.pool,)
        submitted = cluster.submit(model, name=campaign, pools=pools, mode=mode, threads=threads)
        conversion = cluster.conversion(submitted.id)["id"]
        inputs = {
            "tensors": [{"name": "t0", "shape": [1, 32, 48, 3], "dtype": "float32", "quantization": None}]
        }
        (message,) = finish_conversion(cluster, conversion, **({"inputs": inputs} | artifact))
        record_ready(cluster.engine, context, "benchmark@here")
        claim = claimed(cluster, WorkKind.BENCHMARK, message.row_id)
        report = BenchmarkReport.of(
            model_name=model,
            artifact_sha256=claim.payload["artifact"]["sha256"],
            device=context,
            measurements=reports or (measurement(),),
        )
        leases.finish(
            cluster.engine, claim, lambda connection: record_benchmark(connection, claim, report, ONE_RUN)
        )

    return run


@pytest.fixture
def export(cluster: Cluster, tmp_path: Path) -> Callable[..., Exported]:
    def run(**choice: Any) -> Exported:
        return export_lemur(cluster.engine, tmp_path, Choice(**choice))

    return run


def read(root: Path, path: str = PHONE) -> dict[str, Any]:
    return json.loads((root / "ab/nn/stat/run/tflite" / path).read_text("utf-8"))


def files(root: Path) -> list[str]:
    tree = root / "ab/nn/stat/run/tflite"
    return sorted(str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file())


def test_a_result_is_read_with_all_its_numbers(measure, export, tmp_path):
    measure(
        "one",
        measurement(Backend.CPU, latency=latency(2000)),
        measurement(Backend.GPU, latency=latency(1000)),
    )
    exported = export()
    assert (exported.written, exported.not_valid) == (1, 0)
    runs, _ = imported(tmp_path)
    ((key, row),) = runs.items()
    assert key == ("android_lab-phone.json", "one", "Pixel 4", "11", 1000, "fp32")
    assert (row["valid"], row["emulator"], row["unit"], row["iterations"]) == (True, False, "GPU", 3)
    statistics = ("duration", "min_duration", "max_duration", "std_dev", "error")
    assert [row[f"cpu_{name}"] for name in statistics] == [2000, 1990, 2010, 7, None]
    assert (row["gpu_duration"], row["npu_duration"], row["error_message"]) == (1000, None, None)
    assert [row[f"in_dim_{number}"] for number in range(4)] == [1, 32, 48, 3], "NHWC"
    assert row["total_ram_kb"] == 6_000_000
    analytics = json.loads(row["device_analytics_json"])
    assert analytics["cpu_info"]["cpu_cores"] == 8
    assert analytics["nnlite"]["measurements"]["gpu"]["verdict"] == "valid"


def test_fields_come_in_the_published_order(measure, export, tmp_path):
    measure("one", measurement(), refusal(Backend.GPU, "no OpenCL"))
    export()
    assert list(read(tmp_path)) == [*PUBLISHED, "cpu_runs", "gpu_runs", "npu_runs", "gpu_error"]
    assert read(tmp_path)["gpu_error"] == "invalid: runtime: no OpenCL"
    assert read(tmp_path)["valid"] is True


def test_nothing_that_is_invalid_has_a_duration(measure, export, tmp_path):
    off = measurement(Backend.GPU, verdict=Verdict.INVALID, reasons=(Reason.TOO_SLOW,))
    measure("one", refusal(Backend.CPU, "unknown operator"), off)
    assert export().not_valid == 1
    said = read(tmp_path)
    assert not said["valid"]
    assert said["error_message"] == "cpu: invalid: runtime: unknown operator; gpu: invalid: too_slow"
    assert all(said[name] is None for name in said if "duration" in name or name in {"unit", "iterations"})


def test_a_noisy_number_is_never_without_its_verdict(measure, export, tmp_path):
    noisy = measurement(verdict=Verdict.NOISY, reasons=(Reason.SPREAD, Reason.DRIFT))
    measure("one", noisy)
    export()
    said = read(tmp_path)
    assert (said["duration"], said["valid"]) == (1_100_000, False)
    assert said["cpu_error"] == "noisy: spread, drift"
    assert said["error_message"] == "cpu: noisy: spread, drift"


def gating(*, enough: bool) -> Gating:
    """Two slices of a shared core, one of which counted."""
    return Gating(
        canaries_ns=(100, 100, 160), slice_runs=(1, 2), slice_first_ns=(), fast_ns=100, enough=enough,
        counted_runs=1, counted_share=0.3, slow_share=0.33, slow_ratio=1.6, all_median_ns=9, all_min_ns=8,
    )  # fmt: skip


def test_iterations_of_a_gated_number_are_those_that_counted(measure, export, tmp_path):
    measure("one", measurement(gating=gating(enough=True)))
    export()
    said = read(tmp_path)
    assert said["iterations"] == 1
    gated = said["device_analytics"]["nnlite"]["measurements"]["cpu"]
    assert (gated["runs"], gated["counted_runs"], gated["all_median_ns"]) == (3, 1, 9)


def test_a_number_of_a_shared_core_is_never_without_its_cause(measure, export, tmp_path):
    cause = "shared core: 33 % of the time 1.6 times slower"
    measure(
        "one",
        measurement(
            verdict=Verdict.NOISY,
            reasons=(Reason.SHARED_CORE,),
            noise_cause=cause,
            gating=gating(enough=False),
        ),
    )
    export()
    said = read(tmp_path)
    assert (said["iterations"], said["cpu_error"]) == (3, f"noisy: shared_core: {cause}")


def test_a_valid_number_goes_before_a_faster_one_that_is_not(measure, export, tmp_path):
    noisy = measurement(
        Backend.GPU, verdict=Verdict.THROTTLED, reasons=(Reason.THERMAL,), latency=latency(10)
    )
    measure("one", measurement(Backend.CPU, latency=latency(2000)), noisy)
    export()
    said = read(tmp_path)
    assert (said["duration"], said["unit"], said["valid"], said["gpu_duration"]) == (2000, "CPU", True, 10)


def test_a_record_has_one_number_of_threads(measure, export, tmp_path):
    four = measurement(threads=4, latency=latency(300), verdict=Verdict.NOISY)
    measure("one", four, measurement(threads=2, latency=latency(500)), threads=(2, 4))
    exported = export()
    said = read(tmp_path)
    assert (said["cpu_duration"], said["valid"], exported.threads) == (500, True, {2})
    assert said["device_analytics"]["nnlite"]["measurements"]["cpu"]["threads"] == 2
    assert export(threads=4).threads == {4}
    assert (read(tmp_path)["cpu_duration"], read(tmp_path)["valid"]) == (300, False)
    with pytest.raises(
        NnliteError, match=r"of the results \(1 phone; 1 valid\) none fits; --kind, --verdict"
    ):
        export(threads=3)


def test_of_several_results_the_newest_valid_one_is_written(measure, export, tmp_path):
    measure("one", measurement(latency=latency(100)), campaign="first")
    measure("one", measurement(latency=latency(200)), campaign="second")
    measure("one", measurement(latency=latency(300), verdict=Verdict.NOISY), campaign="third")
    exported = export()
    assert (exported.written, exported.superseded) == (1, 2)
    assert read(tmp_path)["duration"] == 200
    assert export(campaigns=["third"]).written == 1
    assert read(tmp_path)["duration"] == 300, "its own files are replaced"


def test_a_reproduction_does_not_replace_the_result(cluster, measure, export, tmp_path):
    measure("one", measurement(latency=latency(100)))
    (first,) = cluster.rows("SELECT id FROM benchmark")
    again = reproduce.start(cluster.engine, cluster.broker, first["id"])
    finish_benchmark(cluster, again, measurement(latency=latency(200)))
    assert (export().superseded, read(tmp_path)["duration"]) == (0, 100)
    cluster.change("UPDATE benchmark SET report = jsonb_set(report, '{device,kind}', '\"host\"')")
    with pytest.raises(NnliteError, match=r"of the results \(1 host; 1 valid\) none fits"):
        export()


def test_a_longer_mode_comes_before_a_newer_result(measure, export, tmp_path):
    measure("one", measurement(latency=latency(100)), campaign="first", mode=Mode.FULL)
    measure("one", measurement(latency=latency(200)), campaign="second", mode=Mode.QUICK)
    export()
    assert read(tmp_path)["duration"] == 100


def test_devices_have_files_of_their_own_with_safe_names(measure, export, tmp_path):
    for name in ("avd:pixel4-1@lab", "usb:R5 8/M"):
        measure("one", device={"name": name}, campaign=name)
    export()
    assert files(tmp_path) == [
        "fp32/all_models.json",
        f"{FOLDER}/android_avd_pixel4-1_lab.json",
        f"{FOLDER}/android_usb_R5_8_M.json",
    ]


def test_results_of_the_rig_are_marked(measure, export, tmp_path):
    measure("one", device={"name": "avd:rig", "device_type": "rig", "kind": DeviceKind.EMULATOR})
    export()
    said = read(tmp_path, f"{FOLDER}/android_avd_rig.json")
    assert (said["device_type"], said["emulator"]) == ("rig", True)


HOST = {"name": "host-lab", "kind": DeviceKind.HOST, "pool": "host"}


def test_hosts_are_exported_only_on_request(measure, export, tmp_path):
    measure("one", device=HOST)
    with pytest.raises(
        NnliteError, match=r"of the results \(1 host; 1 valid\) none fits; --kind host writes"
    ):
        export()
    assert files(tmp_path) == []
    for choice in ({"kinds": [DeviceKind.HOST]}, {"devices": ["host-lab"]}):
        assert export(**choice).written == 1
    assert files(tmp_path) == ["fp32/all_models.json", f"{FOLDER}/linux_host-lab.json"]


def test_results_are_chosen_by_campaign_device_and_pool(measure, export):
    measure("one", campaign="night")
    measure("two", campaign="day", device={"name": "other", "pool": "tablets"})
    for choice in ({"campaigns": ["day"]}, {"devices": ["other"]}, {"pools": ["tablets"]}):
        assert export(**choice).written == 1
    assert export(campaigns=["day", "night"]).written == 2
    with pytest.raises(NnliteError, match="there is no result of campaign day on phones; nnlite run"):
        export(campaigns=["day"], pools=["phones"])


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"campaigns": ["nigth"]}, "no campaign 'nigth' has results to export; did you mean night"),
        ({"devices": ["pixel"]}, "no device 'pixel' has results to export; there are lab-phone"),
        ({"pools": ["x"]}, "no pool 'x' has results to export; there are phones"),
    ],
)
def test_an_unknown_name_raises_and_lists_known_ones(measure, export, choice, says):
    measure("one")
    with pytest.raises(NnliteError, match=says):
        export(**choice)


def test_benchmarks_without_result_are_counted(cluster, measure, export):
    measure("one")
    measure("two", campaign="day")
    cluster.change(
        "UPDATE benchmark SET report = NULL, state = 'failed' WHERE id ="
        " (SELECT id FROM benchmark ORDER BY created_at LIMIT 1)"
    )
    exported = export()
    assert (exported.written, exported.without_result) == (1, 1)
    cluster.change("UPDATE benchmark SET report = NULL, state = 'failed'")
    with pytest.raises(NnliteError, match=r"no measurement has a result \(without one: 2\); see"):
        export()


def test_accuracy_is_that_of_the_weights_as_they_were_trained(cluster, measure, export, tmp_path):
    measure("one", campaign="float")
    int8 = {"cache_key": "int8", "precision": "int8"}
    measure("one", measurement(precision=Precision.INT8), campaign="integer", **int8)
    cluster.change("UPDATE model SET accuracy = 0.91, transform = 'norm_32'")
    export()
    assert read(tmp_path, "fp32/all_models.json") == {"one": {"accuracy": 0.91, "transform": "norm_32"}}
    assert read(tmp_path, "int8/all_models.json") == {"one": {"accuracy": None, "transform": "norm_32"}}
    runs, models = imported(tmp_path)
    assert {key[-1] for key in runs} == {key[-1] for key in models} == {"fp32", "int8"}


def test_every_precision_has_its_folder_and_int8_records_its_calibration(measure, export, tmp_path):
    words = "sklearn-photos, not representative"
    for precision in Precision:
        measure(
            "one",
            measurement(precision=precision),
            campaign=precision,
            cache_key=precision,
            precision=precision,
            parity={"sqnr_db": 31.5},
            calibration={"provenance": words} if precision == "int8" else None,
        )
    export()
    said = {
        precision: read(tmp_path, f"{precision}/img-classification_cifar-10_acc_one/android_lab-phone.json")
        for precision in Precision
    }
    kept = {precision: record["device_analytics"]["nnlite"] for precision, record in said.items()}
    assert kept[Precision.INT8]["calibration"] == {"provenance": words}
    assert kept[Precision.FP16]["calibration"] is None
    assert kept[Precision.DYNAMIC]["artifact_parity"] == {"sqnr_db": 31.5}


def test_existing_entries_of_the_metadata_are_kept(measure, export, tmp_path):
    catalogue = tmp_path / "ab/nn/stat/run/tflite/fp32/all_models.json"
    catalogue.parent.mkdir(parents=True)
    theirs = {"one": {"accuracy": 0.5, "transform": "echo"}, "AlexNet": {"accuracy": 0.877}}
    catalogue.write_text(json.dumps(theirs))
    measure("one")
    measure("two", campaign="day")
    export()
    known = read(tmp_path, "fp32/all_models.json")
    assert {name: known[name] for name in theirs} == theirs
    assert "two" in known


def test_a_catalogue_that_cannot_be_read_is_not_replaced(measure, export, tmp_path):
    catalogue = tmp_path / "ab/nn/stat/run/tflite/fp32/all_models.json"
    catalogue.parent.mkdir(parents=True)
    catalogue.write_text("{")
    measure("one")
    with pytest.raises(NnliteError, match=r"cannot read .*all_models.json"):
        export()
    assert catalogue.read_text() == "{"


def test_an_unwritable_path_raises_and_leaves_no_partial_file(measure, export, tmp_path):
    (tmp_path / "ab").write_text("")
    measure("one")
    with pytest.raises(NnliteError, match=r"cannot write .*android_lab-phone.json"):
        export()
    assert [file.name for file in tmp_path.iterdir()] == ["ab"]


def test_models_that_share_a_benchmark_are_both_written(cluster, export, tmp_path):
    first = cluster.toys.add("one")
    cluster.toys.add("uno", code_sha256=first.code_sha256)
    cluster.submit("one", "uno", name="twins", pools=("phones",))
    rows = cluster.rows("SELECT v.id FROM conversion v JOIN model m ON m.id = v.model_id ORDER BY m.name")
    (message,) = finish_conversion(cluster, rows[0]["id"])
    finish_conversion(cluster, rows[1]["id"], cached=True)
    finish_benchmark(cluster, message.row_id)
    assert export().written == 2
    assert [read(tmp_path, path.replace("_one", f"_{name}"))["model_name"] for name, path in
            (("one", PHONE), ("uno", PHONE))] == ["one", "uno"]  # fmt: skip


def test_progress_is_reported(cluster, measure, tmp_path):
    for name in ("one", "two"):
        measure(name, campaign=name)
    progress = []
    export_lemur(cluster.engine, tmp_path, Choice(), lambda done, total: progress.append((done, total)))
    assert progress == [(1, 2), (2, 2)]


def test_a_record_says_how_the_cpu_was_measured_and_how_often(measure, export, tmp_path):
    measure("one", measurement(), measurement(Backend.GPU, verdict=Verdict.INVALID))
    export()
    record = read(tmp_path)
    how = record["device_analytics"]["nnlite"]["measurements"]["cpu"]
    assert (how["xnnpack"], how["process"]) == (True, "app")
    assert (record["cpu_runs"], record["gpu_runs"], record["npu_runs"]) == (record["iterations"], 0, 0)
    assert "original_model_size_kib" not in record, "it is the original"


def test_the_cpus_fields_are_of_xnnpack_or_without_it_as_chosen(measure, export, tmp_path):
    measure("one", measurement(), measurement(Backend.CPU_PLAIN, latency=latency(9_000_000)))
    export()
    with_xnnpack = read(tmp_path)
    export(cpu=Backend.CPU_PLAIN)
    plain = read(tmp_path)
    assert (with_xnnpack["cpu_duration"], plain["cpu_duration"]) == (1_100_000, 9_000_000)
    assert (plain["unit"], plain["duration"], plain["valid"]) == ("CPU", 9_000_000, True)
    how = plain["device_analytics"]["nnlite"]["measurements"]
    assert {name: one["xnnpack"] for name, one in how.items()} == {"cpu": True, "cpu-plain": False}
    assert with_xnnpack["device_analytics"]["nnlite"]["measurements"] == how
    assert not [name for name in plain if "plain" in name], "its fields are those of nn-dataset"


def test_other_runtimes_of_hosts_have_no_place_in_records(cluster, measure, export, tmp_path):
    measure("one", measurement(), measurement(Backend.TFLITE_APP, latency=latency(9_000)))
    measure("one", measurement(Backend.TFLITE_APP, latency=latency(9_000)), campaign="later")
    assert export().written == 1
    record = read(tmp_path)
    assert (record["duration"], [*record["device_analytics"]["nnlite"]["measurements"]]) == (
        1_100_000,
        ["cpu"],
    )
    shown = cluster.rows("SELECT backend, xnnpack FROM latency WHERE campaign = 'night' ORDER BY backend")
    assert [tuple(row.values()) for row in shown] == [("cpu", True), ("tflite-app", True)]


def test_a_result_without_xnnpack_never_stands_for_one_with_it(measure, export, tmp_path):
    measure("one", measurement(verdict=Verdict.NOISY), campaign="night")
    measure("one", measurement(Backend.CPU_PLAIN, latency=latency(9_000_000)), campaign="plain")
    export()
    assert read(tmp_path)["cpu_duration"] == 1_100_000
    assert export(cpu=Backend.CPU_PLAIN).written == 1
    assert read(tmp_path)["cpu_duration"] == 9_000_000


def test_files_are_named_by_the_phones_model_in_upstreams_layout(measure, export, tmp_path):
    measure("one", device={"device_type": "SM S911B", "name": "usb:ONE"})
    measure("one", device={"device_type": "SM S911B", "name": "usb:TWO"}, campaign="later")
    exported = export(layout=TreeLayout.UPSTREAM)
    files = [file.name for file in (tmp_path / "ab/nn/stat/run/tflite" / FOLDER).iterdir()]
    assert files == ["android_SM_S911B.json"]
    assert (exported.written, exported.superseded) == (1, 1)


@pytest.mark.parametrize("layout", TreeLayout)
def test_nn_gpts_index_of_candidates_finds_every_model_by_its_name(measure, export, tmp_path, layout):
    int8 = measurement(precision=Precision.INT8)
    refused = measurement(precision=Precision.INT8, verdict=Verdict.INVALID, latency=None)
    measure("ga-alexnet-1_v2", int8, cache_key="a", precision="int8")
    for serial in ("one", "two"):
        device = {"device_type": f"phone {serial}", "name": f"usb:{serial}"}
        measure("one", int8, campaign=serial, cache_key="b", precision="int8", device=device)
    measure("lost", refused, campaign="bad", cache_key="c", precision="int8")
    measure("floats", campaign="other")
    export(layout=layout)
    assert candidates(tmp_path) == {"ga-alexnet-1_v2": [True], "one": [True, True], "lost": [False]}


def test_only_results_with_a_named_verdict_are_written(measure, export):
    measure("good")
    measure("loud", measurement(verdict=Verdict.NOISY), campaign="loud")
    measure("bad", measurement(verdict=Verdict.INVALID), campaign="bad")
    assert export(verdicts=[Verdict.VALID]).written == 1
    assert export(verdicts=[Verdict.VALID, Verdict.NOISY]).written == 2
    assert export().written == 3


def test_models_of_files_are_never_written(measure, export, cluster):
    measure("one")
    measure("mine", campaign="own")
    cluster.change("UPDATE model SET source = 'files' WHERE name = 'mine'")
    exported = export()
    assert (exported.written, exported.own) == (1, 1)
