"""Values of a run report that do not come from the runtime: statistics, memory, device state."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from device.rig.faults import FaultBox
from device.rig.guest_state import read_state
from device.rig.logs import now_s


def device_state(faults: FaultBox) -> dict[str, Any]:
    """Return the `DeviceState` of a run report as it is now."""
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    state = read_state()
    return {
        "at": datetime.fromtimestamp(now_s(faults), UTC).isoformat(),
        "free_ram_kb": int(memory["MemFree"].split()[0]),
        "available_ram_kb": int(memory["MemAvailable"].split()[0]),
        "cached_kb": int(memory["Cached"].split()[0]),
        "load_1m": float(Path("/proc/loadavg").read_text().split()[0]),
        "temperatures_c": {"battery": state.battery_c},
        "battery_percent": state.battery_percent,
        "charging": state.charging,
        "thermal_status": state.thermal_status,
        "cpuset": "/top-app",
    }


def latency(samples_ns: Any, min_normal_runs: int) -> dict[str, Any]:
    """Return the statistics of a run report, as the app computes them."""
    normal = len(samples_ns) >= min_normal_runs
    p90, p95, p99 = (round(float(value)) for value in np.percentile(samples_ns, (90, 95, 99)))
    mean, std, median = (float(f(samples_ns)) for f in (np.mean, np.std, np.median))
    drift = None
    if normal and len(samples_ns) >= 10:
        slices = [float(np.median(part)) for part in np.array_split(samples_ns, 10)]
        drift = (max(slices) - min(slices)) / median if median else 0.0
    return {
        "mean_ns": round(mean),
        "median_ns": round(median),
        "p90_ns": p90,
        "p95_ns": p95 if normal else None,
        "p99_ns": p99 if normal else None,
        "min_ns": int(samples_ns.min()),
        "max_ns": int(samples_ns.max()),
        "std_ns": round(std),
        "cv": std / mean if mean else 0.0,
        "mad_ratio": 1.4826 * float(np.median(np.abs(samples_ns - median))) / median if median else 0.0,
        "slice_drift": drift,
    }


def status_kb(field: str) -> int:
    """Return a memory field of this process, such as VmHWM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0


def pss_kb() -> int:
    """Return the proportional set size of this process."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
