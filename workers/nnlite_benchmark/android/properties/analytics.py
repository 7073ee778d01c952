"""Reads an Android device's properties (`android_context`), its state around a run and its cores' speeds.

One round trip each. A value that is missing or implausible is None, never a
guess; `unknown` or 0 only where the report requires a value. Times are the
host's: a device's clock jumps.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from nnlite.reports.schema import DeviceContext, DeviceState
from nnlite.vocabulary import DeviceKind, QuietMode
from nnlite_benchmark.android.properties.cpuinfo import UNKNOWN, cpu
from nnlite_benchmark.android.properties.parsers import (
    MAX_CORES,
    ShellOutput,
    flag,
    numbers_of_cpu_list,
    one_line,
    run_batch,
    word,
)
from nnlite_benchmark.android.properties.thermal import (
    MAX_TEMPERATURES,
    battery,
    hal_temperatures,
    thermal_status,
    zone_temperatures,
)

CPUS: Final = "/sys/devices/system/cpu"
ZONES: Final = "/sys/class/thermal/thermal_zone*"

#: One process reads all files of a kind and prints lines with their paths.
_READ_EACH: Final = "grep -s ."
CONTEXT_COMMANDS: Final = {
    "properties": "getprop",
    "cpuinfo": "cat /proc/cpuinfo",
    "meminfo": "cat /proc/meminfo",
    "boot_id": "cat /proc/sys/kernel/random/boot_id",
    "online": f"cat {CPUS}/online",
    "kernel": "uname -s -r",
    "machine": "uname -m",
}
STATE_COMMANDS: Final = {
    "meminfo": "cat /proc/meminfo",
    "loadavg": "cat /proc/loadavg",
    "frequencies": f"{_READ_EACH} {CPUS}/cpu[0-9]*/cpufreq/scaling_cur_freq /dev/null",
    "governors": f"{_READ_EACH} {CPUS}/cpu[0-9]*/cpufreq/scaling_governor /dev/null",
    "zones": f"{_READ_EACH} {ZONES}/type {ZONES}/temp /dev/null",
    "frequency_limits": f"{_READ_EACH} {CPUS}/cpu[0-9]*/cpufreq/scaling_min_freq "
    f"{CPUS}/cpu[0-9]*/cpufreq/scaling_max_freq /dev/null",
    "battery": "dumpsys battery",
    "thermal": "dumpsys thermalservice",
    "power_saver": "settings get global low_power",
    "projection": "dumpsys media_projection",
    "displays": """dumpsys display | grep -oE 'DisplayDeviceInfo[{]"[^"]*"|, type [A-Z]+'""",
}
SPEED_COMMANDS: Final = {
    "online": CONTEXT_COMMANDS["online"],
    "highest": f"{_READ_EACH} {CPUS}/cpu[0-9]*/cpufreq/cpuinfo_max_freq /dev/null",
}

#: Above any core's frequency, kHz.
MAX_FREQUENCY_KHZ: Final = 20_000_000
#: What makes `android.os.Build.IS_EMULATOR` true (core/java/android/os/Build.java in AOSP), newest first.
_QEMU: Final = ("ro.boot.qemu", "ro.kernel.qemu")
#: From API 29 on each partition has product properties, and the plain ones are derived from them.
_MODEL: Final = ("ro.product.model", "ro.product.vendor.model", "ro.product.system.model")
_MAKER: Final = (
    "ro.product.manufacturer",
    "ro.product.vendor.manufacturer",
    "ro.product.system.manufacturer",
)
_PROPERTY: Final = re.compile(r"^\[([^\]\n]+)\]: \[(.*)\][ \t\r]*$", re.MULTILINE)
_MEMORY: Final = re.compile(r"^(\w+):\s+(\d{1,12}) kB\s*$", re.MULTILINE | re.ASCII)
_CPU_FILE: Final = re.compile(r"\S*/cpu(\d{1,4})/cpufreq/(\w+):(\S{1,100})\s*", re.ASCII)
_LOAD: Final = re.compile(r"(\d{1,6}\.\d{1,6}) \d+\.\d+ \d+\.\d+ ", re.ASCII)
# Of `DisplayDeviceInfo.toString`, `MediaProjectionManagerService.dump` (bytecode of Android 8, 11, 14, 15).
_DISPLAY: Final = re.compile(r'DisplayDeviceInfo\{"[^"]*"')
_DISPLAY_TYPE: Final = re.compile(r", type ([A-Z]+)")
#: `Display.typeToString` of all that is not the built-in screen.
_ELSEWHERE: Final = frozenset({"EXTERNAL", "HDMI", "WIFI", "OVERLAY", "VIRTUAL"})
_PROJECTION: Final = re.compile(r"^Media Projection:\s*^(.+)$", re.MULTILINE)
_BOOT_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def android_context(
    shell_output: ShellOutput,
    *,
    name: str,
    kind: DeviceKind,
    pool: str,
    quiet_mode: QuietMode,
    measuring_cores: tuple[int, ...] = (),
) -> DeviceContext:
    """Return the properties that are constant until the device reboots.

    Args:
        shell_output: runs a command line on the device.
        kind: as far as the connection type tells; a device with the properties of an emulator is one.
        measuring_cores: the host's cores that an emulator runs on; empty: a phone, or any core.

    Raises:
        Failure: whatever `shell_output` raises.
    """
    outputs = run_batch(shell_output, CONTEXT_COMMANDS)
    properties = dict(_PROPERTY.findall(outputs["properties"]))
    abi = _first(properties, "ro.product.cpu.abi")
    boot_id = one_line(outputs["boot_id"])
    api_level = _first(properties, "ro.build.version.sdk") or ""
    return DeviceContext(
        name=name,
        kind=DeviceKind.EMULATOR if _first(properties, *_QEMU) == "1" else kind,
        pool=pool,
        device_type=_first(properties, *_MODEL) or UNKNOWN,
        os_version=_os_version(properties),
        kernel=_kernel(outputs["kernel"]),
        cpu=cpu(
            outputs["cpuinfo"],
            online=one_line(outputs["online"]),
            machine=one_line(outputs["machine"]),
            abi=abi,
        ),
        total_ram_kb=_memory_kb(outputs["meminfo"]).get("MemTotal", 0),
        boot_id=boot_id if boot_id and _BOOT_ID.fullmatch(boot_id) else None,
        machine=_machine(properties),
        soc=_first(properties, "ro.soc.model", "ro.board.platform", "ro.hardware"),
        abi=abi,
        api_level=int(api_level) if re.fullmatch(r"[0-9]{1,4}", api_level) else None,
        build_fingerprint=_first(properties, "ro.build.fingerprint", "ro.system.build.fingerprint"),
        debuggable=_is_debuggable(properties),
        quiet_mode=quiet_mode,
        measuring_cores=measuring_cores,
    )


def android_state(shell_output: ShellOutput) -> DeviceState:
    """Return memory, load, frequencies, temperatures and battery now.

    Raises:
        Failure: whatever `shell_output` raises.
    """
    at = datetime.now(UTC)
    outputs = run_batch(shell_output, STATE_COMMANDS)
    memory = _memory_kb(outputs["meminfo"])
    charge = battery(outputs["battery"])
    frequencies = frequencies_khz(outputs["frequencies"])
    known = [frequency for frequency in frequencies if frequency is not None]
    temperatures = {} if charge.temperature_c is None else {"battery": charge.temperature_c}
    temperatures |= hal_temperatures(outputs["thermal"]) | zone_temperatures(outputs["zones"])
    return DeviceState(
        at=at,
        free_ram_kb=memory.get("MemFree"),
        available_ram_kb=memory.get("MemAvailable"),
        cached_kb=memory.get("Cached"),
        load_1m=_load(outputs["loadavg"]),
        governor=_governor(outputs["governors"]),
        frequency_khz=sum(known) // len(known) if known else None,
        frequencies_khz=frequencies,
        temperatures_c=dict(list(temperatures.items())[:MAX_TEMPERATURES]),
        battery_percent=charge.percent,
        charging=charge.charging,
        thermal_status=thermal_status(outputs["thermal"]),
        power_saver=flag(outputs["power_saver"]),
        mirrored=is_mirrored(outputs["displays"], outputs["projection"]),
        clocks_locked=are_locked(outputs["frequency_limits"]),
    )


def highest_khz(shell_output: ShellOutput) -> Mapping[int, int | None]:
    """Return each core that is online and the highest frequency that it has, kHz; None: it does not say.

    Raises:
        Failure: whatever `shell_output` raises.
    """
    outputs = run_batch(shell_output, SPEED_COMMANDS)
    known = frequencies_khz(outputs["highest"])
    cores = numbers_of_cpu_list(one_line(outputs["online"])) or tuple(range(len(known)))
    return {core: known[core] if core < len(known) else None for core in cores}


def _first(properties: dict[str, str], *names: str) -> str | None:
    """Return the first of the properties that has a value; Android's own placeholder is `unknown`."""
    values = (word(properties.get(name)) for name in names)
    return next((value for value in values if value and value != UNKNOWN), None)


def _is_debuggable(properties: dict[str, str]) -> bool | None:
    """Return whether the system is a debuggable or an engineering build, which checks more and is slower."""
    build = _first(properties, "ro.build.type", "ro.system.build.type")
    debuggable = flag(properties.get("ro.debuggable", ""))
    return debuggable if build is None else build == "eng" or debuggable is True


def _os_version(properties: dict[str, str]) -> str:
    """Return release and build in nn-dataset's format, such as `10 | HUAWEISTK-L21`.

    https://github.com/ABrain-One/nn-lite/blob/main/ab/lite/torch2tflite.py; one such file is nn-dataset's
    ab/nn/stat/run/tflite/fp32/img-classification_cifar-10_acc_AirNet/android_STK-L21.json.
    """
    release = _first(properties, "ro.build.version.release", "ro.system.build.version.release")
    parts = (release, _first(properties, "ro.build.id", "ro.system.build.id"))
    return word(" | ".join(part for part in parts if part)) or UNKNOWN


def _machine(properties: dict[str, str]) -> str | None:
    parts = (_first(properties, *_MAKER), _first(properties, *_MODEL))
    return word(" ".join(part for part in parts if part))


def _kernel(output: str) -> str | None:
    line = one_line(output)
    return line if line and line.startswith("Linux ") else None


def _memory_kb(text: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, number in _MEMORY.findall(text):
        sizes.setdefault(name, int(number))
    return sizes


def _load(text: str) -> float | None:
    match = _LOAD.match(text)
    return float(match[1]) if match else None


def _of_cores(text: str, file: str = "") -> dict[int, str]:
    """Return the values of lines `PATH/cpuN/cpufreq/FILE:VALUE`, as grep prints them; of `file` if given."""
    values: dict[int, str] = {}
    for line in text.splitlines():
        match = _CPU_FILE.fullmatch(line)
        if match and int(match[1]) < MAX_CORES and file in {"", match[2]}:
            values.setdefault(int(match[1]), match[3])
    return values


def frequencies_khz(text: str) -> tuple[int | None, ...]:
    """Return each core's frequency up to the last core that has one; a core that is offline has no file."""
    values = _of_cores(text).items()
    parsed = {core: int(value) for core, value in values if re.fullmatch("[0-9]{1,8}", value)}
    plausible = {core: khz for core, khz in parsed.items() if 0 < khz <= MAX_FREQUENCY_KHZ}
    return tuple(plausible.get(core) for core in range(max(plausible, default=-1) + 1))


def are_locked(text: str) -> bool | None:
    """Return whether lowest and highest frequency are equal, which needs root, by what grep prints of both.

    None: no core tells both, as on emulators.
    """
    lowest, highest = (
        {core: khz for core, khz in _of_cores(text, f"scaling_{end}_freq").items() if khz.isdecimal()}
        for end in ("min", "max")
    )
    cores = lowest.keys() & highest.keys()
    return all(lowest[core] == highest[core] for core in cores) if cores else None


def _governor(text: str) -> str | None:
    values = set(_of_cores(text).values())
    return word(",".join(sorted(value for value in values if re.fullmatch(r"[\w-]{1,40}", value, re.ASCII))))


def is_mirrored(displays: str, projection: str) -> bool | None:
    """Return whether there is a display besides the built-in ones, or a projection; None: unknown.

    Whoever records or shows the screen costs the device time on the GPU and the video encoder.
    """
    devices = displays.splitlines() if _DISPLAY.search(displays) else []
    types = {match[1] for line in devices if (match := _DISPLAY_TYPE.match(line))}
    projected = match[1].strip() != "null" if (match := _PROJECTION.search(projection)) else None
    if types & _ELSEWHERE or projected:
        return True
    return False if types or projected is False else None
