"""Values of a run report that do not come from the runtime: memory, device state."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
