"""Reads the host's properties and state from /proc and /sys, without starting a process.

The device type begins with `host`, so that a host is never taken for an Android
device. An unknown value is None, never a guess.
"""

import os
import platform
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from nnlite.host.cores import Cores
from nnlite.host.processes import boot_id
from nnlite.reports.schema import Cpu, DeviceContext, DeviceState, Disturbance
from nnlite.vocabulary import DeviceKind, Stage

SYS: Final = Path("/sys")
PROC: Final = Path("/proc")
_FREQUENCY_INTERVAL_S: Final = 0.5


def host_context(name: str, pool: str, cores: Cores) -> DeviceContext:
    """Return the properties that are constant until this machine reboots."""
    system = platform.system()
    return DeviceContext(
        name=name,
        kind=DeviceKind.HOST,
        pool=pool,
        device_type=f"host {system} {platform.machine()}",
        os_version=_os_version(),
        kernel=f"{system} {platform.release()}",
        cpu=host_cpu(),
        total_ram_kb=_memory_kb().get("MemTotal") or psutil.virtual_memory().total // 1024,
        boot_id=boot_id() or None,
        machine=_machine(),
        environment=_environment(),
        quiet_mode=cores.mode,
        measuring_cores=cores.measuring,
    )


def host_cpu() -> Cpu:
    """Return the processor: from the first entry of /proc/cpuinfo, x86 or ARM."""
    fields = _cpuinfo()
    features = (fields.get("flags") or fields.get("Features") or "").split()
    return Cpu(
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        vendor=fields.get("vendor_id") or fields.get("CPU implementer"),
        features=tuple(features),
        model=fields.get("model name") or fields.get("CPU part") or platform.processor() or None,
    )


def host_state(cores: Collection[int]) -> DeviceState:
    """Return memory, load, frequency and temperature now; `cores` are those that measure."""
    memory = _memory_kb()
    return DeviceState(
        at=datetime.now(UTC),
        free_ram_kb=memory.get("MemFree"),
        available_ram_kb=memory.get("MemAvailable") or psutil.virtual_memory().available // 1024,
        cached_kb=memory.get("Cached"),
        load_1m=os.getloadavg()[0],
        governor=_governor(cores),
        frequency_khz=_frequency_khz(cores),
        temperatures_c=_temperatures(),
    )


class FrequencyRange:
    """Lowest and highest frequency during the timed runs, of the fastest of some cores at each moment."""

    def __init__(self, cores: Collection[int]) -> None:
        self._cores = cores or range(os.cpu_count() or 1)
        self._khz: list[int] = []
        self._next_s = 0.0

    def note(self, stage: Stage) -> None:
        """Read the frequency, at most twice a second, in the stage of the timed runs."""
        now_s = time.monotonic()
        if stage is Stage.RUN and now_s >= self._next_s:
            self._next_s = now_s + _FREQUENCY_INTERVAL_S
            if known := _frequencies_khz(self._cores):
                self._khz.append(max(known))

    def added_to(self, disturbance: Disturbance | None) -> Disturbance | None:
        """Return `disturbance` with the range, if there is one."""
        if disturbance is None or not self._khz:
            return disturbance
        update = {"frequency_min_khz": min(self._khz), "frequency_max_khz": max(self._khz)}
        return disturbance.model_copy(update=update)


def highest_khz(cores: Collection[int]) -> dict[int, int | None]:
    """Return the highest frequency of each of some cores; None: it is not told, as in virtual machines."""
    texts = {core: _text(SYS / f"devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq") for core in cores}
    return {core: int(text) if text and text.isdigit() else None for core, text in texts.items()}


def _os_version() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _cpuinfo() -> dict[str, str]:
    first, _, _ = (_text(PROC / "cpuinfo") or "").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip()[:5000] for name, _, value in pairs}


def _memory_kb() -> dict[str, int]:
    pairs = (line.split() for line in (_text(PROC / "meminfo") or "").splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in pairs if len(words) >= 2}


def _machine() -> str | None:
    dmi = SYS / "devices/virtual/dmi/id"
    words = [_text(dmi / "sys_vendor"), _text(dmi / "product_name"), _text(PROC / "device-tree/model")]
    return " ".join(word.replace("\0", "") for word in words if word)[:300] or None


def _environment() -> tuple[str, ...]:
    layers = []
    if Path("/.dockerenv").exists():
        layers.append("container: docker")
    if Path("/run/.containerenv").exists():
        layers.append("container: podman")
    if "hypervisor" in (_cpuinfo().get("flags") or "").split():
        layers.append(f"virtual machine: {_text(SYS / 'hypervisor/type') or 'hypervisor flag of the CPU'}")
    return tuple(layers)


def _governor(cores: Collection[int]) -> str | None:
    paths = (SYS / f"devices/system/cpu/cpu{core}/cpufreq/scaling_governor" for core in cores)
    return ",".join(sorted({governor for path in paths if (governor := _text(path))})) or None


def _frequency_khz(cores: Collection[int]) -> int | None:
    if frequencies := _frequencies_khz(cores):
        return sum(frequencies) // len(frequencies)
    try:
        return round(float(_cpuinfo()["cpu MHz"]) * 1000)
    except (KeyError, ValueError):
        return None


def _frequencies_khz(cores: Collection[int]) -> list[int]:
    """Return the frequencies of those cores that tell theirs; a virtual machine's usually do not."""
    paths = (SYS / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq" for core in cores)
    return [int(text) for path in paths if (text := _text(path)) and text.isdigit()]


def _temperatures() -> dict[str, float]:
    temperatures: dict[str, float] = {}
    for zone in sorted((SYS / "class/thermal").glob("thermal_zone*"))[:64]:
        kind, degrees = _text(zone / "type"), _text(zone / "temp")
        if degrees and degrees.lstrip("-").isdigit():
            temperatures[f"{zone.name} {kind or ''}".strip()[:300]] = int(degrees) / 1000
    return temperatures
