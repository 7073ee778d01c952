"""Parses what meters of an Android phone say: power rails, and the battery's charge.

`dumpsys powerstats` lists channels without their energy; the services of the power stats HAL print it:
version 2.0 (AIDL, from API 31 on) by `dumpsys`, version 1.0 (HIDL, API 29 and 30) by `lshal debug`. The
formats are those of AOSP's hardware/google/pixel/powerstats; androidx.benchmark asks the same way. Most
phones have neither.

perfetto asks the HAL by its interface, so it also tells the rails of phones whose HAL prints no table: a
trace of a fraction of a second, decoded here. Numbers of fields are those of AOSP's protos/perfetto/trace:
trace.proto, trace_packet.proto, power/power_rails.proto.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from nnlite.reports.schema import BatterySeries
from nnlite_benchmark.android.properties.parsers import word

#: Of each version: the command; without the table of states, which is long.
RAIL_COMMANDS: Final = {
    "hal2": "dumpsys android.hardware.power.stats.IPowerStats/default | grep -E 'energy meter|mWs'",
    "hal1": "lshal debug android.hardware.power.stats@1.0::IPowerStats/default | grep -E 'rail energy|mWs'",
}
MAX_RAILS: Final = 256
#: Longest line of a table that is read, characters.
_MAX_LINE_CHARS: Final = 1000
#: A table of the cumulative energy of each rail, since the boot.
_HEAD: Final = re.compile(r"=+ PowerStats HAL (?:2\.0 energy meter|1\.0 rail energy data) =+")
_END: Final = re.compile(r"=+ End of PowerStats HAL.*")
_RAIL: Final = re.compile(r"\s*(\S.{0,300}?)\s+(\d{1,15}\.\d\d) mWs\s*", re.ASCII)
#: Energies are printed from floats of 24 bits, with two decimals of a millijoule.
_RELATIVE: Final = 2.0**-24
_LEAST_UJ: Final = 10.0
#: Less than any phone takes with its screen on.
_LEAST_POWER_W: Final = 0.05
#: The source writes the rails when it starts, and then once a minute. From API 29 on, where `traced` runs: by
#: itself from API 30 on.
_CONFIG: Final = (
    "buffers { size_kb: 256 } duration_ms: 300 "
    'data_sources { config { name: "android.power" '
    "android_power_config { battery_poll_ms: 60000 collect_power_rails: true } } }"
)
PERFETTO_COMMAND: Final = {"perfetto": f"echo '{_CONFIG}' | timeout 5 perfetto -c - --txt -o - | base64"}
#: Field numbers.
_PACKET, _TIMESTAMP, _POWER_RAILS = 1, 8, 40
_DESCRIPTOR, _ENERGY = 1, 2
_INDEX, _NAME, _SUBSYSTEM, _ENERGY_UJ = 1, 2, 3, 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NS: Final = 1e9

_Value = int | bytes


def rails_uj(text: str) -> dict[str, float]:
    """Return the energy of each power rail since the boot, microjoules; empty: the phone has no meter."""
    rails: dict[str, float] = {}
    for line in _table(text):
        match = _RAIL.fullmatch(line)
        name = word(" ".join(match[1].split())) if match else None
        if match and name and len(rails) < MAX_RAILS:
            rails.setdefault(name, float(match[2]) * 1e3)
    return rails


def _table(text: str) -> list[str]:
    """Return the lines of the first table; none if it is cut off."""
    lines = [line for line in text.splitlines() if len(line) <= _MAX_LINE_CHARS]
    begin = next((number for number, line in enumerate(lines) if _HEAD.fullmatch(line)), len(lines))
    end = next((number for number in range(begin, len(lines)) if _END.fullmatch(lines[number])), begin)
    return lines[begin:end]


def resolution_uj(rails: dict[str, float]) -> float:
    """Return how far the sum of these energies may be off by how they are printed."""
    return sum(max(_LEAST_UJ, energy_uj * _RELATIVE) for energy_uj in rails.values())


def battery_readings(series: BatterySeries) -> tuple[list[tuple[float, float]], float]:
    """Return time and energy at each reading since the first, seconds and microjoules, and their resolution.

    Raises:
        ValueError: the battery does not say what was taken from it; the message has the reason.
    """
    if any(plugged is not False for plugged in series.plugged):
        raise ValueError(
            "its battery was plugged in: energy by the charge counter needs adb over the network"
        )
    charges = [charge for charge in series.charge_uah if charge is not None]
    volts = [voltage / 1e3 for voltage in series.voltage_mv if voltage is not None]
    if len(charges) < len(series.at_ns) or len(volts) < len(series.at_ns) or len(charges) < 2:
        raise ValueError("its battery has no charge counter")
    steps = [before - after for before, after in pairwise(charges)]
    moved = [abs(step) for step in steps if step]
    seconds = (series.at_ns[-1] - series.at_ns[0]) / 1e9
    if charges[-1] >= charges[0] or not seconds:
        raise ValueError(f"its charge counter did not fall within {seconds:.0f} s; ask for more")
    used_uj, readings = 0.0, [(series.at_ns[0] / 1e9, 0.0)]
    for step, low_v, high_v, at_ns in zip(steps, volts, volts[1:], series.at_ns[1:], strict=False):
        used_uj += step * 3600 * (low_v + high_v) / 2  # 1 uAh is 3600 uC
        readings.append((at_ns / 1e9, used_uj))
    if used_uj <= 0 or any(first[0] >= last[0] for first, last in pairwise(readings)):
        raise ValueError("the readings of its charge counter contradict each other")
    power_w = used_uj / 1e6 / seconds
    if power_w < _LEAST_POWER_W:  # as on a Redmi Note 14 with HyperOS 3: 4274 at 80 % of its charge
        raise ValueError(
            f"its charge counter would mean {power_w:.1g} W, too little for a phone: it may count in mAh"
        )
    return readings, min(moved) * 3600 * max(volts)


def traced_rails(text: str) -> tuple[float, dict[str, float]]:
    """Return when the rails were read and the energy of each since the boot, seconds and microjoules.

    Args:
        text: what `PERFETTO_COMMAND` prints. Without rails in it the energies are empty.
    """
    try:
        trace = base64.b64decode("".join(text.split()), validate=True)
        return _rails(trace)
    except (binascii.Error, ValueError, IndexError):
        return 0.0, {}


def _rails(trace: bytes) -> tuple[float, dict[str, float]]:
    names: dict[_Value, str] = {}
    for packet in _all(trace, _PACKET):
        fields = dict(_fields(packet))
        rails, at_ns = fields.get(_POWER_RAILS), fields.get(_TIMESTAMP)
        if not isinstance(rails, bytes) or not isinstance(at_ns, int):
            continue
        for descriptor in map(dict, map(_fields, _all(rails, _DESCRIPTOR))):
            if len(names) < MAX_RAILS and (name := _name(descriptor)):
                names.setdefault(descriptor.get(_INDEX, 0), name)
        energies = [dict(_fields(energy)) for energy in _all(rails, _ENERGY)]
        if energies:
            return at_ns / _NS, {
                names[index]: float(energy_uj)
                for energy in energies
                if (index := energy.get(_INDEX, 0)) in names
                and isinstance(energy_uj := energy.get(_ENERGY_UJ), int)
            }
    return 0.0, {}


def _name(descriptor: dict[int, _Value]) -> str | None:
    parts = [descriptor.get(_SUBSYSTEM, b""), descriptor.get(_NAME, b"")]
    return word(" ".join(part.decode(errors="replace") for part in parts if isinstance(part, bytes)))


def _all(message: bytes, number: int) -> Iterator[bytes]:
    return (value for field, value in _fields(message) if field == number and isinstance(value, bytes))


def _fields(message: bytes) -> Iterator[tuple[int, _Value]]:
    """Yield number and value of each field of a protobuf message.

    Raises:
        ValueError, IndexError: it is none.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in {_FIXED32, _FIXED64}:
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of type {kind}")
        if at + size > len(message):
            raise ValueError("cut off")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
