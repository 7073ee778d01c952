"""Exports and listings of measurements on a virtual device equal the rows."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from device.lab import AVD, Lab, RunningWorker
from device.rig.faults import Fault
from nnlite.artifacts.store import file_name
from nnlite.exports.lemur_tree import CATALOGUE, TREE
from nnlite.vocabulary import Backend

_STATISTICS = {"duration": "mean_ns", "min_duration": "min_ns", "max_duration": "max_ns", "std_dev": "std_ns"}


@pytest.fixture(scope="module")
def measured(lab: Lab, worker: RunningWorker) -> list[dict[str, Any]]:
    """Measurements of two models on a CPU, and on a GPU that refuses; one of them crashed the app first."""
    lab.sdk.avd(AVD.removeprefix("avd:")).fault(Fault.APP_CRASHES, runs="benchmark", times=1)
    rows = lab.enqueue(2, backends=(Backend.CPU, Backend.GPU))
    lab.wait_done(rows)
    lab.wait_state(worker.device, "ready")
    measured = lab.cluster.rows("SELECT * FROM latency ORDER BY model, backend")
    assert [row["verdict"] for row in measured] == ["valid", "invalid"] * 2
    return measured


def json_output(lab: Lab, *arguments: str) -> list[dict[str, Any]]:
    """Return the JSON that a command answers with."""
    done = lab.nnlite(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_exported_tree_has_a_file_per_model_and_device_with_the_times_of_the_rows(
    lab, worker, measured, tmp_path
):
    done = lab.nnlite("export", "lemur", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"2 results written to {tmp_path}\n")
    files = [file for file in (tmp_path / TREE / "fp32").rglob("*.json") if file.name != CATALOGUE]
    assert {file.name for file in files} == {f"android_{file_name(worker.device)}.json"}
    records = {record["model_name"]: record for record in map(_read, files)}
    for cpu, gpu in zip(measured[::2], measured[1::2], strict=True):
        record = records.pop(cpu["model"])
        assert (record["device_type"], record["emulator"], record["valid"]) == ("rig", True, True)
        assert (record["unit"], record["iterations"], record["duration"]) == ("CPU", 10, cpu["mean_ns"])
        for name, column in _STATISTICS.items():
            assert record[f"cpu_{name}"] == cpu[column]
            assert record[f"gpu_{name}"] is None
        assert record["gpu_error"] == f"invalid: runtime: {gpu['error']}"
        assert record["total_ram_kb"] > record["available_ram_kb"] > 0
    assert not records


def test_a_report_has_the_context_of_its_device(lab, worker, measured):
    reports = json_output(lab, "results", "--format", "reports")
    assert {report["model_name"] for report in reports} == {row["model"] for row in measured}
    means = {row["model"]: row["mean_ns"] for row in measured if row["backend"] == "cpu"}
    for report in reports:
        assert (report["device_type"], report["emulator"]) == ("rig", True)
        assert (report["duration"], report["valid"]) == (means[report["model_name"]], True)
        assert (report["device"]["name"], report["device"]["kind"]) == (worker.device, "emulator")
        assert [one["backend"] for one in report["measurements"]] == ["cpu", "gpu"]
        assert {one["runtime"] for one in report["measurements"]} == {"TFLite"}


def test_devices_are_listed_with_their_state_their_canary_and_their_last_incident(lab, worker, measured):
    (device,) = json_output(lab, "devices", "--json")
    row = lab.device(worker.device)
    assert (device["device"], device["device_type"], device["kind"]) == (worker.device, "rig", "emulator")
    assert (device["state"], device["recovery_step"], device["pool"]) == ("ready", None, "rig")
    assert device["canary_ns"] == row["canary_ns"] > 0
    assert (device["incidents"], device["open_incidents"], device["last_fault"]) == (1, 0, "app_crashed")


def test_an_incident_lists_fault_model_and_recovery_steps(lab, worker, measured):
    (incident,) = json_output(lab, "devices", "incidents", "--json")
    (row,) = lab.incidents(worker.device)
    assert (incident["fault"], incident["recovery_steps"]) == ("app_crashed", ["reconnect"])
    assert (incident["reason"], incident["benchmark_id"]) == (row["reason"], str(row["benchmark_id"]))
    assert (incident["healed"], incident["healed_after_ns"]) == (True, row["duration_ns"])
    began, healed = (datetime.fromisoformat(incident[name]) for name in ("created_at", "healed_at"))
    assert (healed - began).total_seconds() == pytest.approx(row["duration_ns"] / 1e9)
    assert incident["model"] in {one["model"] for one in measured}


def test_the_table_shows_why_a_backend_has_no_latency(lab, measured):
    results = lab.nnlite("results").stdout
    assert results.count("invalid") == results.count("runtime, Failed to load") == 2, results


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_bytes())
