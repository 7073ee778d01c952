"""LEMUR's wheel, read without unpacking.

Its directory has 118,876 entries, of which `zipfile` makes objects in half a second, and reading 30,000 files
with it takes twice as long as with this module: a third of a listing together.
"""

import os
import struct
import weakref
import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from typing import Final, NamedTuple

from nnlite.catalog.lemur.archive import (
    EPOCH_FILE,
    MODELS,
    NO_STATISTICS,
    RUNS,
    STATISTICS,
    TRANSFORMS,
    FileArchive,
    module_names,
)
from nnlite.catalog.lemur.statistics import is_statistics
from nnlite.catalog.model import CatalogError

#: What starts the end of a zip file, and its form for many entries with what points to it (APPNOTE 4.3).
_END: Final = b"PK\5\6"
_LOCATOR: Final = b"PK\6\7"
_MAX_COMMENT_BYTES: Final = 1 << 16
_END_BYTES: Final = 22
_LOCATOR_BYTES: Final = 20
_LOCAL_HEADER_BYTES: Final = 30
#: An entry up to its name: signature, method, CRC, both sizes, lengths of name, extra field and comment,
#: place of the file.
_ENTRY: Final = struct.Struct("<4s6xH4xIIIHHH8xI")
_ENTRY_SIGNATURE: Final = b"PK\1\2"
#: Stands for a number that is in the extra field instead.
_ELSEWHERE: Final = 0xFFFFFFFF
_RAW_DEFLATE: Final = -15
#: A damaged directory may announce any size.
_MAX_FIRST_BYTES: Final = 1 << 20


class _Entry(NamedTuple):
    """Where a file is in the wheel, and how."""

    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    header_at: int


class WheelArchive(FileArchive):
    """A wheel file, read without unpacking."""

    def fingerprint(self) -> str:
        """Return path, size and time of the file."""
        status = self.path.stat()
        return f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns}"

    @cached_property
    def _descriptor(self) -> int:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    @cached_property
    def _entries(self) -> Mapping[str, _Entry]:
        try:
            return _entries_of(_directory(self._descriptor))
        except (OSError, ValueError, struct.error) as error:
            raise CatalogError(
                f"{self.path} is not a readable wheel: {error}; delete it and fetch it again: nnlite fetch"
            ) from error

    def _below(self, folder: str) -> list[str]:
        start = folder + "/"
        return [path[len(start) :] for path in self._entries if path.startswith(start)]

    def _modules(self, folder: str) -> list[str]:
        return module_names(name for name in self._below(folder) if "/" not in name)

    def _statistics(self) -> list[str]:
        others = tuple(f"{folder}/" for folder in NO_STATISTICS)
        return sorted(
            f"{STATISTICS}/{name}"
            for name in self._below(STATISTICS)
            if name.endswith(f"/{EPOCH_FILE}")
            and not name.startswith(others)
            and is_statistics(name.split("/")[-2])
        )

    def _folders(self, folder: str) -> list[str]:
        return sorted({name.partition("/")[0] for name in self._below(folder)})

    def _read(self, path: str) -> bytes | None:
        entry = self._entries.get(path)
        if entry is None:
            return None
        try:
            return _content(self._descriptor, entry)
        except (OSError, ValueError, struct.error, zlib.error) as error:
            raise CatalogError(
                f"cannot read {path} in {self.path}: {error}; delete it and fetch it again: nnlite fetch"
            ) from error


def _directory(archive: int) -> bytes:
    """Return the directory of an opened zip file.

    Raises:
        ValueError, struct.error: it is no zip file, or cut short.
    """
    size = os.fstat(archive).st_size
    tail_at = max(0, size - _END_BYTES - _MAX_COMMENT_BYTES)
    tail = os.pread(archive, size - tail_at, tail_at)
    end = tail.rfind(_END)
    if end < 0:
        raise ValueError("it has no end of a zip file")
    length, start = struct.unpack_from("<II", tail, end + 12)
    locator = end - _LOCATOR_BYTES
    if locator >= 0 and tail.startswith(_LOCATOR, locator):
        (record,) = struct.unpack_from("<Q", tail, locator + 8)
        length, start = struct.unpack("<QQ", os.pread(archive, 16, record + 40))
    if start + length > tail_at + end:
        raise ValueError("its directory is cut short")
    return os.pread(archive, length, start)


def _entries_of(directory: bytes) -> dict[str, _Entry]:
    """Return the files that a listing may read, by path; raises as `_directory`."""
    others = tuple(f"{folder}/".encode() for folder in (MODELS, TRANSFORMS, *RUNS))
    first_epoch = f"/{EPOCH_FILE}".encode()
    found = {}
    position = 0
    while position < len(directory):
        signature, method, crc, packed, size, name, extra, comment, header_at = _ENTRY.unpack_from(
            directory, position
        )
        if signature != _ENTRY_SIGNATURE:
            raise ValueError("its directory is damaged")
        position += _ENTRY.size
        path = directory[position : position + name]
        # Three quarters are statistics of later epochs.
        if path.startswith(others) or path.endswith(first_epoch):
            found[path.decode()] = _Entry(method, crc, packed, size, header_at)
        position += name + extra + comment
    return found


def _content(archive: int, entry: _Entry) -> bytes:
    """Return a file's content.

    Raises:
        ValueError, struct.error, zlib.error: it is damaged, or packed as wheels are not.
    """
    if _ELSEWHERE in entry:
        raise ValueError("it is packed as no wheel is")
    name, extra = struct.unpack("<HH", os.pread(archive, 4, entry.header_at + _LOCAL_HEADER_BYTES - 4))
    content = os.pread(archive, entry.packed_bytes, entry.header_at + _LOCAL_HEADER_BYTES + name + extra)
    if entry.method == zipfile.ZIP_DEFLATED:
        content = zlib.decompress(content, _RAW_DEFLATE, min(entry.size_bytes, _MAX_FIRST_BYTES))
    elif entry.method != zipfile.ZIP_STORED:
        raise ValueError(f"it is compressed by method {entry.method}, as no wheel is")
    if len(content) != entry.size_bytes or zlib.crc32(content) != entry.crc:
        raise ValueError("its checksum is another one")
    return content
