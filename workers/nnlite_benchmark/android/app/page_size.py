"""Compares a device's page size with the alignment of the app's native libraries.

Android maps libraries from the APK page by page, so a device with 16 kB pages cannot load one whose segments
are aligned to 4 kB: https://developer.android.com/guide/practices/page-sizes
"""

import re
import struct
import zipfile
from pathlib import Path
from typing import Final

_PT_LOAD: Final = 1
_LIBRARY: Final = re.compile(r"lib/([\w-]+)/([^/]+\.so)")
#: Page sizes that a 64-bit kernel can have, bytes.
_PAGE_SIZES: Final = (4096, 16384, 65536)


def page_size(text: str) -> int | None:
    """Return the bytes that `getconf PAGE_SIZE` printed; None if it printed anything else."""
    number = text.strip()
    return next((size for size in _PAGE_SIZES if number == str(size)), None)


def too_small(apk: Path, abi: str, page_bytes: int) -> dict[str, int]:
    """Return the libraries of an ABI that pages of this size cannot map, with their alignment in bytes.

    Raises:
        ValueError: the package, or a library in it, cannot be read.
    """
    try:
        with zipfile.ZipFile(apk) as package:
            names = [(name, match[2]) for name in package.namelist() if (match := _of_abi(name, abi))]
            alignments = {short: _alignment(package.read(name)) for name, short in names}
    except (zipfile.BadZipFile, struct.error, OSError) as error:
        raise ValueError(f"{apk} cannot be read: {error}") from error
    return {name: size for name, size in alignments.items() if size < page_bytes}


def _of_abi(name: str, abi: str) -> re.Match[str] | None:
    match = _LIBRARY.fullmatch(name)
    return match if match and match[1] == abi else None


def _alignment(elf: bytes) -> int:
    """Return the smallest alignment of the loaded segments of a 64-bit little-endian ELF file."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("a native library is not a 64-bit ELF file")
    (headers_at,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    kinds = [struct.unpack_from("<I", elf, headers_at + size * index)[0] for index in range(count)]
    loaded = [index for index, kind in enumerate(kinds) if kind == _PT_LOAD]
    return min(
        (int(struct.unpack_from("<Q", elf, headers_at + size * index + 48)[0]) for index in loaded), default=1
    )
