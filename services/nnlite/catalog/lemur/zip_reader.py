"""Reads files of a large zip archive by path: ZipReader.

For LEMUR's wheel, of 118,876 entries, `zipfile` takes longer to list them than the rest of a listing takes:
it makes an object of each. Here an entry is a position until its file is read.
Source: the ZIP format, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
"""

import struct
import zlib
from collections.abc import KeysView
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile

#: Signature, flags, method, CRC, sizes (compressed, not), lengths of name, extra and comment, position.
_ENTRY = struct.Struct("<4s4xHH4x3L3H8xL")
_LENGTHS = struct.Struct("<3H")
_LENGTHS_AT = 28
#: Signature, lengths of name and extra.
_FILE = struct.Struct("<4s22xHH")
#: Signature, then number of entries, size and position of the list of entries.
_END = struct.Struct("<4s6xHLL2x")
_END64 = struct.Struct("<4s28xQQQ")
#: Signature and position of the record above.
_LOCATOR64 = struct.Struct("<4s4xQ4x")
_LONGEST_COMMENT = 2**16
_ENCRYPTED = 1


class ZipReader:
    """A zip archive, open for reading; no encryption, and no single file of 4 GiB or more.

    Raises:
        OSError: the file cannot be read.
        BadZipFile: it is no zip archive, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._length = self._file.seek(0, 2)
        entries, size, position = self._end()
        self._directory = self._exactly(size, at=position)
        self._positions = self._listed(entries)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    @property
    def paths(self) -> KeysView[str]:
        """The paths of all entries, in the order of the archive."""
        return self._positions.keys()

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            KeyError: there is no such file.
            BadZipFile: it is damaged, encrypted, or of an unknown method.
        """
        entry = _ENTRY.unpack_from(self._directory, self._positions[path])
        _, flags, method, crc, packed, size, *_, position = entry
        if flags & _ENCRYPTED or method not in (ZIP_STORED, ZIP_DEFLATED):
            raise BadZipFile(f"{path} is encrypted or of method {method}")
        signature, name, extra = _FILE.unpack(self._exactly(_FILE.size, at=position))
        if signature != b"PK\x03\x04":
            raise BadZipFile(f"no file where {path} should start")
        content = self._exactly(packed, at=position + _FILE.size + name + extra)
        if method == ZIP_DEFLATED:
            try:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
            except zlib.error as error:
                raise BadZipFile(f"{path} is damaged: {error}") from error
        if len(content) != size or zlib.crc32(content) != crc:
            raise BadZipFile(f"{path} is damaged: bad CRC-32 or size")
        return content

    def _end(self) -> tuple[int, int, int]:
        """Return number of entries, size and position of their list."""
        start = max(0, self._length - _END.size - _LONGEST_COMMENT)
        self._file.seek(start)
        tail = self._file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise BadZipFile("it is no zip archive")
        end = _END.unpack_from(tail, at)
        before = max(0, start + at - _LOCATOR64.size)
        signature, position = _LOCATOR64.unpack(self._exactly(_LOCATOR64.size, at=before))
        if signature == b"PK\x06\x07":
            end = _END64.unpack(self._exactly(_END64.size, at=position))
            if end[0] != b"PK\x06\x06":
                raise BadZipFile("it has no list of entries")
        _, entries, size, position = end
        return entries, size, position

    def _listed(self, entries: int) -> dict[str, int]:
        directory, positions, at = self._directory, {}, 0
        lengths, overhead = _LENGTHS.unpack_from, _ENTRY.size
        for _ in range(entries):
            if directory[at : at + 4] != b"PK\x01\x02" or at + overhead > len(directory):
                raise BadZipFile("its list of entries is damaged")
            name, extra, comment = lengths(directory, at + _LENGTHS_AT)
            start = at + overhead
            positions[directory[start : start + name].decode("utf-8", "replace")] = at
            at = start + name + extra + comment
        return positions

    def _exactly(self, size: int, *, at: int) -> bytes:
        if at + size > self._length:
            raise BadZipFile("it is cut off")
        self._file.seek(at)
        content = self._file.read(size)
        if len(content) != size:
            raise BadZipFile("it was cut off while it was read")
        return content
