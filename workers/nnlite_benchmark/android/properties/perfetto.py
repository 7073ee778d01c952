"""Reads power rails by perfetto: a trace of a fraction of a second, decoded here.

perfetto asks the power stats HAL by its interface, so it also tells the rails of phones whose HAL prints no
table (`power.py`). Numbers of fields are those of AOSP's protos/perfetto/trace: trace.proto,
trace_packet.proto, power/power_rails.proto.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Final

from nnlite_benchmark.android.properties.parsers import word
from nnlite_benchmark.android.properties.power import MAX_RAILS

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
