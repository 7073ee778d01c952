"""Battery and temperatures of an Android device: from /sys, `dumpsys battery` and `dumpsys thermalservice`.

A number that cannot be a temperature in a known unit is left out: vendors
differ from the kernel's millidegrees, and sensors that are off say anything.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from nnlite_benchmark.android.properties.parsers import word

#: Most temperatures that a report lists.
MAX_TEMPERATURES: Final = 64
#: Outside these no sensor of a device that still works tells the truth, degrees Celsius.
COLDEST_C: Final = -40.0
HOTTEST_C: Final = 150.0
#: `PowerManager.THERMAL_STATUS_SHUTDOWN`, the highest:
#: https://developer.android.com/reference/android/os/PowerManager#THERMAL_STATUS_SHUTDOWN
MAX_THERMAL_STATUS: Final = 6
#: Types of `android.hardware.thermal.TemperatureType` that count volts, amperes, percent or nothing known:
#: https://android.googlesource.com/platform/hardware/interfaces/+/refs/heads/main/thermal/aidl/android/hardware/thermal/TemperatureType.aidl
_NO_TEMPERATURES: Final = frozenset({-1, 6, 7, 8})
#: `BatteryManager.BATTERY_STATUS_*`; charging or full is what Android's own documentation calls charging:
#: https://developer.android.com/training/monitoring-device-state/battery-monitoring
_CHARGING: Final = frozenset({2, 5})
_NOT_CHARGING: Final = frozenset({3, 4})

_ZONE: Final = re.compile(r"\S*/thermal_zone(\d{1,4})/(type|temp):(.*)", re.ASCII)
_HAL: Final = re.compile(
    r"Temperature\{mValue=([^,}]{1,40}), mType=(-?\d{1,3}), mName=([^,}]{1,200})[,}]", re.ASCII
)
_WHOLE: Final = re.compile(r"-?\d{1,10}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Battery:
    """What `dumpsys battery` says; all None where there is no battery."""

    percent: float | None = None
    charging: bool | None = None
    temperature_c: float | None = None


def battery(text: str) -> Battery:
    """Read `dumpsys battery`: level of a scale, status, tenths of a degree."""
    pairs = (line.partition(":") for line in text.splitlines())
    fields: dict[str, str] = {}
    for name, _, value in pairs:
        # Vendors add sections of their own below, some with the same names.
        fields.setdefault(name.strip(), value.strip())
    if fields.get("present") != "true":
        return Battery()
    level, scale = _whole(fields.get("level")), _whole(fields.get("scale", "100"))
    status, tenths = _whole(fields.get("status")), _whole(fields.get("temperature"))
    known = level is not None and scale is not None and 0 <= level <= scale and scale > 0
    return Battery(
        percent=100 * level / scale if known and level is not None and scale is not None else None,
        charging=True if status in _CHARGING else False if status in _NOT_CHARGING else None,
        temperature_c=None if tenths is None else plausible(tenths / 10),
    )


def zone_temperatures(text: str) -> dict[str, float]:
    """Read lines `PATH/thermal_zoneN/type:NAME` and `.../temp:NUMBER`, as grep prints them."""
    kinds: dict[int, str] = {}
    degrees: dict[int, float] = {}
    for line in text.splitlines():
        match = _ZONE.fullmatch(line.strip())
        if match is None:
            continue
        zone, value = int(match[1]), match[3].strip()
        if match[2] == "type":
            kinds.setdefault(zone, value)
        elif (number := _whole(value)) is not None and (found := zone_degrees(number)) is not None:
            degrees.setdefault(zone, found)
    named = ((f"thermal_zone{zone} {kinds.get(zone, '')}", value) for zone, value in sorted(degrees.items()))
    return {name: value for raw, value in named if (name := word(raw))}


def zone_degrees(number: int) -> float | None:
    """Return the degrees that a thermal zone means; None where no unit makes sense of the number.

    The kernel's unit is the millidegree (https://docs.kernel.org/driver-api/thermal/sysfs-api.html);
    some vendors print degrees. What lies between the two could be tenths or nothing.
    """
    if abs(number) >= 1000:
        return plausible(number / 1000)
    return plausible(float(number))


def hal_temperatures(text: str) -> dict[str, float]:
    """Read the current temperatures of `dumpsys thermalservice`, which answers where /sys is closed."""
    _, _, current = text.partition("Current temperatures from HAL:")
    current, _, _ = current.partition("Current cooling devices from HAL:")
    found: dict[str, float] = {}
    for value, kind, raw in _HAL.findall(current):
        name, degrees = word(f"hal {raw}"), plausible(_decimal(value))
        if name and degrees is not None and int(kind) not in _NO_TEMPERATURES:
            found.setdefault(name, degrees)
    return found


def thermal_status(text: str) -> int | None:
    """Return how far the device slows down to cool, 0 to 6; None before API 29, which cannot tell."""
    match = re.search(r"^\s*Thermal Status: (\d{1,2})\s*$", text, re.MULTILINE | re.ASCII)
    return int(match[1]) if match and int(match[1]) <= MAX_THERMAL_STATUS else None


def plausible(degrees: float | None) -> float | None:
    """Return the temperature if a device can have it and go on.

    Exactly 0 is what sensors say that are not fitted, such as a Samsung phone's second battery.
    """
    if degrees is None or degrees == 0 or not COLDEST_C <= degrees <= HOTTEST_C:
        return None
    return degrees


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and _WHOLE.fullmatch(text) else None


def _decimal(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
