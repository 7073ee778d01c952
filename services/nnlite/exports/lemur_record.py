"""Converts one benchmark to a record of nn-dataset's mobile results: the same names in the same order.

What the fields mean is taken from NN Lite, which writes them
(https://github.com/ABrain-One/nn-lite, ab/lite/results.py: "the field order is
part of the published schema"), and from nn-dataset, which imports them by name
(https://github.com/ABrain-One/nn-dataset, ab/nn/util/db/Write.py,
json_run_tflite_to_db). Durations are nanoseconds; `unit` is the processing
unit that `duration` belongs to: CPU, GPU or NPU.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nnlite.backends import BACKENDS, CPU_BACKENDS
from nnlite.vocabulary import Backend, DeviceKind, Mode, Precision, Verdict

Json = dict[str, Any]

#: `<backend>_<name>` and the statistic that it is.
_STATISTICS = {
    "duration": "mean_ns",
    "min_duration": "min_ns",
    "max_duration": "max_ns",
    "std_dev": "std_ns",
}
_INPUT_DIMENSIONS = 4
#: The processing units of nn-dataset's records.
UNITS = (Backend.CPU, Backend.GPU, Backend.NPU)
#: What the unit CPU may have been measured with.
_CPUS = (Backend.CPU, Backend.CPU_PLAIN)


def lemur_record(
    model: str,
    report: Mapping[str, Any],
    input_shape: Sequence[int],
    campaign: str,
    artifact: Json,
    *,
    sizes: tuple[int | None, int] | None = None,
    threads: int | None = None,
    cpu: Backend = Backend.CPU,
) -> Json:
    """Return the record of one benchmark.

    A backend has durations only where its verdict lets them be published, and `<backend>_error` with the
    verdict wherever that is not `valid`. `duration` is that of the fastest backend with a valid
    measurement; where there is none, of the fastest that has a published one, and `valid` is false.

    Args:
        model: its name, as equal models share a benchmark.
        input_shape: of the artifact, NHWC.
        artifact: its other attributes: parity, calibration and measured accuracy.
        sizes: of the model's fp32 artifact, None where there is none, and of this artifact, bytes.
        threads: of the CPU's measurement; None: the fewest.
        cpu: the backend that the fields of the CPU are of; the other one where it was not measured.
    """
    every = chosen_measurements(report, threads)
    measured = _by_unit(every, cpu)
    best = _fastest(measured)
    record: Json = {
        "model_name": model,
        "device_type": report["device_type"],
        "os_version": report["os_version"],
        "valid": best is not None and measured[best]["verdict"] == Verdict.VALID,
        "emulator": report["emulator"],
        "iterations": _iterations(measured[best]) if best else None,
        "duration": measured[best]["latency"]["mean_ns"] if best else None,
        "unit": best.upper() if best else None,
    }
    for unit in UNITS:
        latency = _published(measured.get(unit))
        for name, statistic in _STATISTICS.items():
            record[f"{unit}_{name}"] = latency and latency[statistic]
    record |= _memory_kb(report)
    for dimension in range(_INPUT_DIMENSIONS):
        record[f"in_dim_{dimension}"] = input_shape[dimension] if dimension < len(input_shape) else None
    record["device_analytics"] = _analytics(report, every, campaign, artifact)
    # Timed runs of each backend, 0 where it gave no duration.
    for unit in UNITS:
        one = measured.get(unit)
        record[f"{unit}_runs"] = _iterations(one) if one and _published(one) else 0
    record |= _size_comparison(report, sizes)
    complaints = {unit: _complaint(one) for unit, one in measured.items() if _complaint(one)}
    if not record["valid"]:
        record["error_message"] = "; ".join(f"{unit}: {words}" for unit, words in complaints.items())
    return record | {f"{unit}_error": complaints[unit] for unit in UNITS if unit in complaints}


def _by_unit(measured: Mapping[Backend, Mapping[str, Any]], cpu: Backend) -> dict[Backend, Mapping[str, Any]]:
    """Return the measurements by processing unit; that of the CPU is of the backend `cpu` if there is one."""
    of_cpu = measured.get(cpu) or next((measured[each] for each in _CPUS if each in measured), None)
    units = {unit: measured[unit] for unit in UNITS if unit in measured and unit is not Backend.CPU}
    return ({Backend.CPU: of_cpu} if of_cpu else {}) | units


def _size_comparison(report: Mapping[str, Any], sizes: tuple[int | None, int] | None) -> Json:
    """Return the sizes of a quantized artifact and of the original one; empty for fp32."""
    original, quantized = sizes or (None, 0)
    if original is None or not quantized or report["precision"] == Precision.FP32:
        return {}
    return {
        "original_model_size_kib": round(original / 1024, 2),
        "quantized_model_size_kib": round(quantized / 1024, 2),
        "quantization_ratio": round(quantized / original, 4),
        "size_reduction_x": round(original / quantized, 2),
    }


def chosen_measurements(report: Mapping[str, Any], threads: int | None) -> dict[Backend, Mapping[str, Any]]:
    """Return one measurement of each backend that phones have.

    Of the CPU's those with `threads`, None: with the fewest.
    """
    measured: dict[Backend, Mapping[str, Any]] = {}
    for one in sorted(report["measurements"], key=lambda one: one["threads"]):
        backend = Backend(one["backend"])
        if backend not in BACKENDS[DeviceKind.PHONE]:
            continue
        if backend not in CPU_BACKENDS or threads in (None, one["threads"]):
            measured.setdefault(backend, one)
    return measured


def _iterations(measurement: Mapping[str, Any]) -> int:
    """Return the number of runs that the duration is of: those that passed the gate, where there was one."""
    gating = measurement.get("gating")
    runs: int = gating["counted_runs"] if gating and gating["enough"] else measurement["runs"]
    return runs


def _published(measurement: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if measurement is None or measurement["verdict"] == Verdict.INVALID:
        return None
    latency: Mapping[str, Any] | None = measurement["latency"]
    return latency


def _fastest(measured: Mapping[Backend, Mapping[str, Any]]) -> Backend | None:
    published = {backend: latency for backend, one in measured.items() if (latency := _published(one))}
    if not published:
        return None
    return min(
        published,
        key=lambda backend: (measured[backend]["verdict"] != Verdict.VALID, published[backend]["mean_ns"]),
    )


def _complaint(measurement: Mapping[str, Any]) -> str | None:
    """Return why a measurement is not valid; None for a valid one."""
    if measurement["verdict"] == Verdict.VALID:
        return None
    reasons = ", ".join(measurement["reasons"])
    parts = (measurement["verdict"], reasons, measurement.get("noise_cause"), measurement["error"])
    return ": ".join(filter(None, parts))


def _analytics(
    report: Mapping[str, Any], measured: Mapping[Backend, Mapping[str, Any]], campaign: str, artifact: Json
) -> Json:
    """Return the device in nn-dataset's format, with our details under `nnlite`."""
    device, analytics = report["device"], report["device_analytics"]
    cpu = analytics["cpu"]
    process = "host" if device["kind"] == DeviceKind.HOST else "app"
    known = ("name", "kind", "pool", "soc", "abi", "api_level", "build_fingerprint", "kernel", "machine")
    return {
        "timestamp": analytics["timestamp"],
        "memory_info": _memory_kb(report),
        "cpu_info": {
            "cpu_cores": cpu["cores"],
            "architecture": cpu["architecture"],
            "vendor_id": cpu["vendor"],
            "model_name": cpu["model"],
            "features": " ".join(cpu["features"]),
            "processors": [dict(fields) for fields in cpu.get("processors") or ()],
            "arm_architecture": _arm_architecture(report),
        },
        "nnlite": {
            "campaign": campaign,
            "precision": report["precision"],
            "artifact_sha256": report["artifact_sha256"],
            **artifact,
            "device": {name: device.get(name) for name in known},
            "measurements": {
                # NN Lite's published results are of its command line tool in a shell, without XNNPACK.
                backend.value: {"xnnpack": backend is Backend.CPU, "process": process} | _explanation(one)
                for backend, one in measured.items()
            },
        },
    }


def _arm_architecture(report: Mapping[str, Any]) -> Json | None:
    """Return the fields that NN Lite writes of an ARM processor; None of others, as there."""
    cpu = report["device_analytics"]["cpu"]
    arm = cpu.get("arm")
    if arm is None:
        return None
    names = ("implementer", "architecture", "variant", "part", "revision")
    return {
        "hardware": arm["hardware"] or report["device"].get("soc"),
        "features": " ".join(cpu["features"]),
        **{f"cpu_{name}": arm[name] for name in names},
    }


def _memory_kb(report: Mapping[str, Any]) -> Json:
    memory = report["device_analytics"]["memory"]
    return {f"{name}_kb": memory[name] for name in ("total_ram", "free_ram", "available_ram", "cached")}


#: Fields of a measurement that are written where it has them.
_WHERE_KNOWN = ("accuracy", "clocks", "conditions")
_GATED = ("counted_runs", "counted_share", "fast_ns", "all_median_ns", "all_min_ns")


def gated(measurement: Mapping[str, Any]) -> Json:
    """Return how much of a measurement counted, and what all runs say; empty: it was not gated."""
    gating = measurement.get("gating")
    return {name: gating[name] for name in _GATED} if gating else {}


def _explanation(measurement: Mapping[str, Any]) -> Json:
    names = (
        "verdict", "reasons", "noise_cause", "shape", "runtime", "runtime_version", "threads", "runs",
        "init_ns", "first_inference_ns", "peak_rss_kb", "delegation", "precision_loss", "parity", "canary",
    )  # fmt: skip
    latency = _published(measurement)
    if latency is None:
        measurement = {**measurement, "first_inference_ns": None}
    return (
        {"mode": measurement.get("mode", Mode.STANDARD)}
        | {name: measurement.get(name) for name in names}
        | {name: value for name in _WHERE_KNOWN if (value := measurement.get(name))}
        | gated(measurement)
        | {
            name: latency and latency.get(name)
            for name in ("median_ns", "median_low_ns", "median_high_ns", "min_ns", "p90_ns")
        }
    )
