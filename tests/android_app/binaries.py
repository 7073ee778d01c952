"""What tests read of an APK's parts: a dex file's classes, an ELF file's alignment, where data lies."""

import struct
import zipfile
from pathlib import Path

PT_LOAD = 1
LOCAL_HEADER_SIZE = 30


def dex_classes(dex: bytes) -> set[str]:
    """Return the names of the classes that a dex file defines, such as `org.example.Main`.

    https://source.android.com/docs/core/runtime/dex-format
    """
    strings_at, types_at = (struct.unpack_from("<I", dex, at)[0] for at in (0x3C, 0x44))
    count, classes_at = struct.unpack_from("<II", dex, 0x60)
    names = set()
    for index in range(count):
        (type_index,) = struct.unpack_from("<I", dex, classes_at + 32 * index)
        (string_index,) = struct.unpack_from("<I", dex, types_at + 4 * type_index)
        (at,) = struct.unpack_from("<I", dex, strings_at + 4 * string_index)
        # Names here are shorter than 128 characters, so that their length takes one byte.
        descriptor = dex[at + 1 : dex.index(0, at + 1)].decode()
        names.add(descriptor.removeprefix("L").removesuffix(";").replace("/", "."))
    return names


def segment_alignments(elf: bytes) -> set[int]:
    """Return the alignments of an ELF-64 file's loaded segments, bytes."""
    (headers_at,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    alignments = set()
    for index in range(count):
        header = headers_at + size * index
        (kind,) = struct.unpack_from("<I", elf, header)
        if kind == PT_LOAD:
            alignments.add(struct.unpack_from("<Q", elf, header + 48)[0])
    return alignments


def data_offsets(apk: Path) -> dict[str, int]:
    """Return where the data of each entry begins in the file."""
    raw = apk.read_bytes()
    with zipfile.ZipFile(apk) as archive:
        return {
            info.filename: info.header_offset
            + LOCAL_HEADER_SIZE
            + sum(struct.unpack_from("<HH", raw, info.header_offset + 26))
            for info in archive.infolist()
        }
