"""Rows of LiteRT's performance board: its fields in its order, and which of them are on the board."""

import copy

import pytest

from nnlite.exports.litert_board import build_board
from nnlite.exports.litert_board_row import board_row
from nnlite.vocabulary import Backend

#: Of measurements.jsonl and board.json in https://github.com/google-ai-edge/litert-samples
#: (benchmark/leaderboard/data, September 2026).
FIELDS = (
    "row_id", "model", "file", "task", "model_size_mb", "platform", "device_id", "device", "os",
    "accelerator", "delegate", "nodes_delegated", "nodes_total", "partitions", "latency_ms", "memory_mb",
    "runs", "warmup_runs", "throughput_mb_s", "source", "runtime", "runtime_version", "binary", "runner",
    "session", "job", "status", "date",
)  # fmt: skip
LATENCY = (
    "median", "avg", "p5", "p95", "min", "max", "stddev", "init", "first_inference", "warm_up_avg",
)  # fmt: skip
MEMORY = ("init_footprint", "overall_footprint")
BOARD = ("generated_at", "runtime", "runtime_versions", "row_count", "models", "platforms", "devices", "rows")

MEASURED = {
    "verdict": "valid", "reasons": [], "noise_cause": None, "threads": 1, "mode": "standard",
    "runtime": "TensorFlow Lite", "runtime_version": "2.16.1", "started_at": "2026-11-23T10:00:00Z",
    "init_ns": 8_001_000, "first_inference_ns": 11_701_000, "runs": 101, "warmup_runs": 50,
    "warmup_ns": 500_000_000, "baseline_rss_kb": 100_000, "peak_rss_kb": 139_936,
    "memory": {"load": {"model_kb": 1, "process_kb": 131_744}},
    "delegation": {
        "delegate": "TfLiteXNNPackDelegate", "delegated_nodes": 70, "total_nodes": 70, "partitions": 1,
    },
    "latency": {
        "mean_ns": 10_000_000, "median_ns": 9_847_000, "median_low_ns": 9_800_000,
        "median_high_ns": 9_900_000, "p95_ns": None, "min_ns": 9_009_000, "max_ns": 14_822_000,
        "std_ns": 818_000,
    },
}  # fmt: skip
RESULT = {
    "campaign": "night", "source": "lemur", "model": "MobileNetV2", "task": "img-classification",
    "accuracy": 0.7, "precision": "int8", "size_bytes": 13_975_904, "parity_state": "ok",
    "inputs": {"tensors": [{"shape": [1, 224, 224, 3], "dtype": "float32"}]},
    "report": {
        "device_type": "Pixel 9 Pro", "artifact_sha256": "0" * 64,
        "device": {
            "kind": "phone", "name": "usb:R58M12ABCDE", "device_type": "Pixel 9 Pro", "os_version": "15",
            "api_level": 35,
        },
    },
}  # fmt: skip


def row(**changes):
    return board_row(RESULT, Backend.CPU, MEASURED, None) | changes


def test_a_row_has_the_boards_fields_in_its_order_and_ours_in_one_of_their_own():
    made = row()
    assert tuple(made) == (*FIELDS, "nnlite")
    assert (tuple(made["latency_ms"]), tuple(made["memory_mb"])) == (LATENCY, MEMORY)
    assert made["row_id"] == "lemur/MobileNetV2:MobileNetV2_int8.tflite@2.16.1/android/pixel-9-pro-35/cpu"
    assert (made["device"], made["os"]) == ("Pixel 9 Pro", "Android 15 (API 35)")
    assert (made["task"], made["accelerator"], made["job"]) == (
        "image-classification", "cpu", "cpu-pixel-9-pro-35",
    )  # fmt: skip
    assert (made["runtime"], made["runner"], made["source"]) == ("tflite", "app", "nnlite")
    assert made["nnlite"]["verdict"] == "valid"


def test_durations_are_milliseconds_and_memory_is_what_the_process_grew():
    made = row()
    assert made["latency_ms"] == {
        "median": 9.847, "avg": 10.0, "p5": None, "p95": None, "min": 9.009, "max": 14.822, "stddev": 0.818,
        "init": 8.001, "first_inference": 11.701, "warm_up_avg": 10.0,
    }  # fmt: skip
    assert made["memory_mb"] == {"init_footprint": 31.0, "overall_footprint": 39.0}
    # As the board's own row of this network has it: its input of 602,112 bytes in MiB, per second.
    assert made["throughput_mb_s"] == pytest.approx(57.42, abs=0.01)


def test_a_gated_measurement_says_how_much_of_it_counted():
    gating = {
        "counted_runs": 60, "counted_share": 0.4, "fast_ns": 200_000, "all_median_ns": 11_000_000,
        "all_min_ns": 9_009_000, "slice_runs": [1, 2],
    }  # fmt: skip
    ours = board_row(RESULT, Backend.CPU, MEASURED | {"gating": gating}, None)["nnlite"]
    assert ours["counted_share"] == 0.4 and ours["all_median_ns"] == 11_000_000
    assert "slice_runs" not in ours and "counted_share" not in row()["nnlite"]


def test_no_serial_number_is_published():
    assert "R58M12ABCDE" not in str(row())


def test_a_host_is_linux_and_measured_by_a_process_of_its_own():
    result = copy.deepcopy(RESULT)
    result["report"]["device"] |= {"kind": "host", "os_version": "Debian 12", "api_level": None}
    made = board_row(result, Backend.CPU, MEASURED, "our-lab")
    assert (made["platform"], made["runner"], made["os"]) == ("linux", "local", "Debian 12")
    assert made["model"] == "our-lab/MobileNetV2"


def test_the_board_has_the_newest_version_of_each_row_and_its_fields():
    newest = row(runtime_version="2.10.0")
    board = build_board(
        [row(runtime_version="2.2.0", date="2026-12-01"), newest, row(status="failed", runtime_version="3")]
    )
    assert tuple(board) == BOARD
    assert board["rows"] == [newest]
    assert (board["row_count"], board["runtime_versions"]) == (1, ["2.10.0"])
    assert board["platforms"] == [{"id": "android", "name": "Android", "rows": 1}]
    assert board["devices"] == [{"id": "pixel-9-pro-35", "name": "Pixel 9 Pro", "platform": "android"}]


def test_the_board_is_ordered_by_platform_task_device_accelerator_and_median():
    slow = row(file="b", latency_ms=row()["latency_ms"] | {"median": 20.0})
    unknown = row(file="c", latency_ms=row()["latency_ms"] | {"median": None})
    rows = [
        row(platform="linux"), unknown, slow, row(file="a"), row(accelerator="gpu"),
        row(task="image-segmentation"),
    ]  # fmt: skip
    assert build_board(rows)["rows"] == [rows[3], slow, unknown, rows[4], rows[5], rows[0]]
