"""Puts weights that a `.tflite` file has after its flatbuffer into it, for TensorFlow Lite's C API.

Artifacts of more than 256 kB in other precisions than fp32 have weights there: ai-edge-quantizer names
their places in the fields `offset` and `size` of `Buffer` (schema.fbs). The app, LiteRT and TensorFlow read
them. The C API of 2.16.1, by which hosts use the app's library, does not: "Input tensor 18 lacks data".
Imports the standard library only.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_IDENTIFIER: Final = b"TFL3"
#: Numbers of fields: `buffers` of the table `Model`, and those of `Buffer`.
_BUFFERS, _DATA, _OFFSET, _SIZE = 4, 0, 1, 2
#: Weights begin at multiples of it, as the quantizer writes them.
_ALIGNMENT: Final = 16
#: Of a file that is no flatbuffer, or a broken one.
_BROKEN: Final = (struct.error, ValueError, IndexError)


@dataclass(frozen=True)
class _Outside:
    """A `Buffer` whose data are after the flatbuffer."""

    table: int
    #: Where the table has the 8 bytes of its field `offset`.
    field: int
    begin: int
    size: int


def weights_inside(artifact: Path, copy: Path) -> Path:
    """Return a file of the same model with all weights in its flatbuffer: the artifact or, if needed, `copy`.

    Args:
        artifact: is not changed; what is no valid `.tflite` file is returned as it is.

    Raises:
        OSError: the artifact cannot be read, or the copy not written.
    """
    with artifact.open("rb") as file:
        try:
            source = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return artifact
        with source:
            try:
                outside = list(_outside(source))
            except _BROKEN:
                return artifact
            if not outside or not _is_sound(outside, len(source)):
                return artifact
            _write(source, outside, copy)
    return copy


def _outside(source: mmap.mmap) -> Iterator[_Outside]:
    if source[4:8] != _IDENTIFIER:
        raise ValueError("another kind of file")
    (model,) = struct.unpack_from("<I", source)
    field = _field(source, model, _BUFFERS)
    if field is None:
        return
    vector = _pointed(source, field)
    (count,) = struct.unpack_from("<I", source, vector)
    for each in range(count):
        table = _pointed(source, vector + 4 + 4 * each)
        offset, size = _field(source, table, _OFFSET), _field(source, table, _SIZE)
        if offset is None or size is None or _field(source, table, _DATA) is not None:
            continue
        (begin,), (length,) = struct.unpack_from("<Q", source, offset), struct.unpack_from("<Q", source, size)
        if begin > 1:
            yield _Outside(table, offset, begin, length)


def _is_sound(outside: list[_Outside], file_bytes: int) -> bool:
    return max(each.begin + each.size for each in outside) <= file_bytes >= sum(each.size for each in outside)


def _pointed(source: mmap.mmap, position: int) -> int:
    return position + int(struct.unpack_from("<I", source, position)[0])


def _field(source: mmap.mmap, table: int, number: int) -> int | None:
    """Return the position of a table's field; None: it has its default."""
    (back,) = struct.unpack_from("<i", source, table)
    vtable = table - back
    (bytes_of_vtable,) = struct.unpack_from("<H", source, vtable)
    entry = 4 + 2 * number
    if entry >= bytes_of_vtable:
        return None
    (place,) = struct.unpack_from("<H", source, vtable + entry)
    return table + place if place else None


def _write(source: mmap.mmap, outside: list[_Outside], copy: Path) -> None:
    """Write the flatbuffer and, after it, each weight as a vector, to which its table's field points."""
    with copy.open("w+b") as target:
        target.write(source[: min(each.begin for each in outside)])
        for each in outside:
            # Tables may share a vtable, so this one gets its own: of its fields it has `data` only.
            vtable = _padded(target.seek(0, 2), _ALIGNMENT)
            vector = vtable + _ALIGNMENT - 4
            target.seek(vtable)
            target.write(struct.pack("<HHH", 6, _bytes_of(source, each.table), each.field - each.table))
            target.seek(vector)
            target.write(struct.pack("<I", each.size))
            with memoryview(source)[each.begin : each.begin + each.size] as weights:
                target.write(weights)
            target.seek(each.table)
            target.write(struct.pack("<i", each.table - vtable))
            target.seek(each.field)
            target.write(struct.pack("<I", vector - each.field))


def _bytes_of(source: mmap.mmap, table: int) -> int:
    vtable = table - int(struct.unpack_from("<i", source, table)[0])
    return int(struct.unpack_from("<H", source, vtable + 2)[0])


def _padded(position: int, multiple: int) -> int:
    return position + -position % multiple
