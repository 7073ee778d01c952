"""Converts one measurement to a row of LiteRT's performance board; see `litert_board` for the format."""

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

from nnlite.artifacts.store import file_name
from nnlite.exports.lemur_record import Json, gated
from nnlite.vocabulary import Backend, DeviceKind

#: Of a task of LEMUR's the pipeline tag of Hugging Face, by which the board filters.
_TASKS: Final = {
    "img-classification": "image-classification",
    "img-segmentation": "image-segmentation",
    "obj-detection": "object-detection",
    "img-captioning": "image-to-text",
    "img-denoising": "image-to-image",
    "img-super-resolution": "image-to-image",
    "txt-generation": "text-generation",
    "txt-image": "text-to-image",
}
_RUNTIMES: Final = {"LiteRT": "litert", "TensorFlow Lite": "tflite"}
_RUNNERS: Final = {DeviceKind.HOST: "local", DeviceKind.PHONE: "app", DeviceKind.EMULATOR: "app"}


def board_row(
    result: Mapping[str, Any], backend: Backend, measured: Mapping[str, Any], owner: str | None
) -> Json:
    """Return the line of one measurement, its fields in the board's order."""
    report, device = result["report"], result["report"]["device"]
    model = f"{owner or result['source']}/{result['model']}"
    file = f"{file_name(result['model'])}_{result['precision']}.tflite"
    platform = "linux" if device["kind"] == DeviceKind.HOST else "android"
    device_id = _device_id(device)
    delegation = measured.get("delegation") or {}
    version = measured["runtime_version"]
    latency, average_ms = measured["latency"], measured["latency"]["mean_ns"] / 1e6
    return {
        "row_id": f"{model}:{file}@{version}/{platform}/{device_id}/{backend}",
        "model": model,
        "file": file,
        "task": _TASKS.get(result["task"], result["task"] or "other"),
        "model_size_mb": result["size_bytes"] / 1e6,
        "platform": platform,
        "device_id": device_id,
        "device": report["device_type"],
        "os": _os(device),
        "accelerator": backend.value,
        "delegate": delegation.get("delegate"),
        "nodes_delegated": delegation.get("delegated_nodes"),
        "nodes_total": delegation.get("total_nodes"),
        "partitions": delegation.get("partitions"),
        "latency_ms": {
            "median": _ms(latency["median_ns"]),
            "avg": average_ms,
            "p5": None,  # no statistic of ours
            "p95": _ms(latency["p95_ns"]),
            "min": _ms(latency["min_ns"]),
            "max": _ms(latency["max_ns"]),
            "stddev": _ms(latency["std_ns"]),
            "init": _ms(measured.get("init_ns")),
            "first_inference": _ms(measured.get("first_inference_ns")),
            "warm_up_avg": _warm_up_ms(measured),
        },
        "memory_mb": _memory_mb(measured),
        "runs": measured["runs"],
        "warmup_runs": measured.get("warmup_runs"),
        "throughput_mb_s": _input_mb(result["inputs"]) / (average_ms / 1e3),
        "source": "nnlite",
        "runtime": _RUNTIMES.get(measured["runtime"], measured["runtime"]),
        "runtime_version": version,
        "binary": f"nnlite {'app' if platform == 'android' else 'host process'}",
        "runner": _RUNNERS[DeviceKind(device["kind"])],
        "session": result["campaign"],
        "job": f"{backend}-{device_id}",
        "status": "measured",
        "date": measured["started_at"][:10],
        "nnlite": _interpretation(result, measured),
    }


def _device_id(device: Mapping[str, Any]) -> str:
    """Return the model of a device as an id: its name has a phone's serial number, which stays private."""
    name = re.sub(r"[^a-z0-9]+", "-", device["device_type"].lower()).strip("-") or "unknown"
    return f"{name}-{device['api_level']}" if device.get("api_level") else name


def _os(device: Mapping[str, Any]) -> str:
    if device["kind"] == DeviceKind.HOST:
        return str(device["os_version"])
    level = f" (API {device['api_level']})" if device.get("api_level") else ""
    return f"Android {device['os_version']}{level}"


def _ms(duration_ns: float | None) -> float | None:
    return None if duration_ns is None else duration_ns / 1e6


def _warm_up_ms(measured: Mapping[str, Any]) -> float | None:
    runs, spent_ns = measured.get("warmup_runs"), measured.get("warmup_ns")
    return spent_ns / runs / 1e6 if runs and spent_ns else None


def _memory_mb(measured: Mapping[str, Any]) -> Json:
    """Return how much the process grew, in MiB: until it was initialized, and until its last run."""
    baseline_kb, memory = measured.get("baseline_rss_kb"), measured.get("memory") or {}
    stages = {
        "init_footprint": (memory.get("load") or {}).get("process_kb"),
        "overall_footprint": measured.get("peak_rss_kb"),
    }
    return {
        name: None
        if peak_kb is None or baseline_kb is None
        else round(max(0, peak_kb - baseline_kb) / 1024, 2)
        for name, peak_kb in stages.items()
    }


def _input_mb(inputs: Mapping[str, Any]) -> float:
    """Return the size of all inputs of an inference, in MiB."""
    sizes = {"float32": 4, "int32": 4, "int64": 8, "float16": 2, "complex64": 8}
    tensors: Sequence[Mapping[str, Any]] = inputs["tensors"]
    size = sum(prod(map(int, tensor["shape"])) * sizes.get(tensor["dtype"], 1) for tensor in tensors)
    return size / 2**20


def _interpretation(result: Mapping[str, Any], measured: Mapping[str, Any]) -> Json:
    """Return what the board has no field for, and what a reader must know."""
    names = ("verdict", "reasons", "noise_cause", "threads", "mode", "precision_loss")
    latency = measured["latency"]
    return (
        {name: measured.get(name) for name in names}
        | {
            "precision": result["precision"],
            "parity_state": result["parity_state"],
            "accuracy_of_training": result["accuracy"],
            "artifact_sha256": result["report"]["artifact_sha256"],
            "median_low_ms": _ms(latency.get("median_low_ns")),
            "median_high_ms": _ms(latency.get("median_high_ns")),
        }
        | gated(measured)
    )
