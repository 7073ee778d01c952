"""Parses battery and temperatures of an Android device: /sys, `dumpsys battery`, `dumpsys thermalservice`.

A number that is no plausible temperature in a known unit is dropped: vendors
deviate from the kernel's millidegrees, and disabled sensors report anything.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from nnlite_benchmark.android.properties.parsers import word

#: Upper limit of temperatures in a report.
MAX_TEMPERATURES: Final = 64
#: Zones of Qualcomm's power management that are no temperatures: per cent of charge, mV, mA, their limits.
_NO_TEMPERATURE: Final = re.compile(r"socd?|.*(?:bcl|ibat|vbat|vph|trip).*", re.IGNORECASE)
#: Plausible range for a working device, degrees Celsius; the coldest itself is what absent sensors report.
COLDEST_C: Final = -40.0
HOTTEST_C: Final = 150.0
#: `PowerManager.THERMAL_STATUS_SHUTDOWN`, the highest:
#: https://developer.android.com/reference/android/os/PowerManager#THERMAL_STATUS_SHUTDOWN
MAX_THERMAL_STATUS: Final = 6
#: Values of `android.hardware.thermal.TemperatureType` that are volts, amperes, percent or unknown:
#: https://android.googlesource.com/platform/hardware/interfaces/+/refs/heads/main/thermal/aidl/android/hardware/thermal/TemperatureType.aidl
_NO_TEMPERATURES: Final = frozenset({-1, 6, 7, 8})
#: `BatteryManager.BATTERY_STATUS_*`; Android's documentation counts charging and full as charging:
#: https://developer.android.com/training/monitoring-device-state/battery-monitoring
_CHARGING: Final = frozenset({2, 5})
_NOT_CHARGING: Final = frozenset({3, 4})

_ZONE: Final = re.compile(r"\S*/thermal_zone(\d{1,4})/(type|temp):(.*)", re.ASCII)
_HAL: Final = re.compile(
    r"Temperature\{mValue=([^,}]{1,40}), mType=(-?\d{1,3}), mName=([^,}]{1,200})[,}]", re.ASCII
)
_STATUS: Final = re.compile(r"^[ \t]*Thermal Status: (\d{1,2})[ \t\r]*$", re.MULTILINE | re.ASCII)
_WHOLE: Final = re.compile(r"-?\d{1,10}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Battery:
    """The fields of `dumpsys battery`; all None without a battery."""

    percent: float | None = None
    charging: bool | None = None
    temperature_c: float | None = None


def battery(text: str) -> Battery:
    """Parse `dumpsys battery`: level and scale, status, tenths of a degree."""
    pairs = (line.partition(":") for line in text.splitlines())
    fields: dict[str, str] = {}
    for name, _, value in pairs:
        # Vendors append their own sections, some with the same names.
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
    """Parse lines `PATH/thermal_zoneN/type:NAME` and `.../temp:NUMBER`, as grep prints them."""
    kinds: dict[int, str] = {}
    degrees: dict[int, float] = {}
    for line in text.splitlines():
        match = _ZONE.fullmatch(line.strip())
        if match is None:
            continue
        zone, value = int(match[1]), match[3].strip()
        if match[2] == "type":
            kinds.setdefault(zone, value)
        elif (number := _whole(value)) is not None and (celsius := zone_degrees(number)) is not None:
            degrees.setdefault(zone, celsius)
    named = (
        (f"thermal_zone{zone} {kinds.get(zone, '')}", value)
        for zone, value in sorted(degrees.items())
        if not _NO_TEMPERATURE.fullmatch(kinds.get(zone, ""))
    )
    return {name: value for raw, value in named if (name := word(raw))}


def zone_degrees(number: int) -> float | None:
    """Return a thermal zone's number in degrees; None if it is implausible in every unit.

    The kernel's unit is the millidegree (https://docs.kernel.org/driver-api/thermal/sysfs-api.html);
    some vendors print degrees. Numbers in between are ambiguous and dropped.
    """
    if abs(number) >= 1000:
        return plausible(number / 1000)
    return plausible(float(number))


def hal_temperatures(text: str) -> dict[str, float]:
    """Parse the current temperatures of `dumpsys thermalservice`, which works where /sys is not readable."""
    _, _, current = text.partition("Current temperatures from HAL:")
    current, _, _ = current.partition("Current cooling devices from HAL:")
    temperatures: dict[str, float] = {}
    for value, kind, raw in _HAL.findall(current):
        name, degrees = word(f"hal {raw}"), plausible(_decimal(value))
        if name and degrees is not None and int(kind) not in _NO_TEMPERATURES:
            temperatures.setdefault(name, degrees)
    return temperatures


def thermal_status(text: str) -> int | None:
    """Return Android's thermal status, 0 to 6; None before API 29, which has none."""
    match = _STATUS.search(text)
    return int(match[1]) if match and int(match[1]) <= MAX_THERMAL_STATUS else None


def plausible(degrees: float | None) -> float | None:
    """Return the temperature if it is plausible for a working device, else None.

    Exactly 0 is reported by sensors that are not fitted, such as a Samsung phone's second battery.
    """
    if degrees is None or degrees == 0 or not COLDEST_C < degrees <= HOTTEST_C:
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
