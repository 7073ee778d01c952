"""Writes the APK's zip reproducibly: uncompressed, and aligned so that Android can map it.

Equivalent to `zipalign -P 16 4`: native libraries begin at a page, of the larger size that Android has,
everything else at four bytes. `apksigner` preserves the alignment.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ALIGNMENT: Final = 4
PAGE: Final = 16384
#: The extra field for an entry's alignment; its data is the alignment, then zeros.
#: https://cs.android.com/android/platform/superproject/+/main:tools/apksig/src/main/java/com/android/apksig/ApkSigner.java
ALIGNMENT_FIELD: Final = 0xD935
_LOCAL_HEADER_SIZE: Final = 30
_FIELD_HEADER: Final = struct.Struct("<HHH")
#: The first date that a zip can store.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def pack(entries: Mapping[str, Path], apk: Path) -> None:
    """Write the files under the names of their entries, sorted by name."""
    with apk.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            info.extra = _padding(file.tell() + _LOCAL_HEADER_SIZE + len(name.encode()), _alignment(name))
            archive.writestr(info, entries[name].read_bytes())


def _alignment(name: str) -> int:
    return PAGE if name.endswith(".so") else ALIGNMENT


def _padding(offset: int, alignment: int) -> bytes:
    """Return an extra field that aligns an entry's data, which would otherwise begin at this offset."""
    zeros = -(offset + _FIELD_HEADER.size) % alignment
    return _FIELD_HEADER.pack(ALIGNMENT_FIELD, 2 + zeros, alignment) + bytes(zeros)
