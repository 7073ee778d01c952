"""The files that the app leaves beside its report: joined from status pieces, checked against it.

The app sends a file in pieces where it cannot leave it in a folder that the
host can read. Whatever names, counts and bytes come from a device, nothing is
written outside the folder and nothing is believed that the report's sha256
does not confirm.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnlite.reports.schema import RunReport
from nnlite_benchmark.protocol.measurement import plain_name

#: Most bytes that all pieces of one run may have together.
MAX_PIECES_BYTES: Final = 64 * 1024 * 1024
#: Most files of one run: every output that a report may have, and the samples.
MAX_FILES: Final = 300
FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a file that the app sends as a status."""

    #: As the app says it; not checked yet.
    file: str
    #: From 0.
    piece: int
    #: How many the file has.
    pieces: int
    data: bytes


class ChunkAssembler:
    """Takes pieces in any order and writes the files that they make."""

    def __init__(self, *, max_bytes: int = MAX_PIECES_BYTES) -> None:
        self._files: dict[str, dict[int, bytes]] = {}
        self._counts: dict[str, int] = {}
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes

    def add(self, piece: Piece) -> None:
        """Keep one piece.

        Raises:
            ValueError: it does not fit the pieces before it, its name leads elsewhere, or it is too much.
        """
        name = checked_name(piece.file)
        if not 0 <= piece.piece < piece.pieces:
            raise ValueError(f"piece {piece.piece} of {name} is outside its {piece.pieces} pieces")
        if self._counts.setdefault(name, piece.pieces) != piece.pieces:
            raise ValueError(f"{name} has {self._counts[name]} pieces, then {piece.pieces}")
        if len(self._counts) > MAX_FILES:
            raise ValueError(f"{name} is one file more than the {MAX_FILES} that a run may send")
        parts = self._files.setdefault(name, {})
        if piece.piece in parts:
            raise ValueError(f"piece {piece.piece} of {name} came twice")
        self._left_bytes -= len(piece.data)
        if self._left_bytes < 0:
            raise ValueError(f"piece {piece.piece} of {name} goes beyond {self._max_bytes} bytes in all")
        parts[piece.piece] = piece.data

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write every file into `folder`; they are complete or none is written.

        Raises:
            ValueError: a piece is missing.
        """
        for name, parts in self._files.items():
            if len(parts) < self._counts[name]:
                missing = next(number for number in range(self._counts[name]) if number not in parts)
                raise ValueError(f"piece {missing} of {self._counts[name]} of {name} is missing")
        return tuple(_write(folder / name, parts) for name, parts in self._files.items())


def file_names(report: RunReport) -> tuple[str, ...]:
    """Return the names of the files that the report names, safe to be joined to a folder.

    Raises:
        ValueError: a name leads elsewhere or comes twice.
    """
    samples = (report.samples_file.file,) if report.samples_file else ()
    names = [checked_name(name) for name in (*(output.file for output in report.outputs), *samples)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the report names {twice} twice")
    return tuple(names)


def check_files(report: RunReport, folder: Path) -> None:
    """Compare every file that the report names with its size and sha256.

    Raises:
        ValueError: a file is missing or differs; the message names it.
    """
    file_names(report)
    for output in report.outputs:
        _check(folder, output.file, output.size_bytes, output.sha256)
    if report.samples_file is not None:
        _check(folder, report.samples_file.file, report.samples_file.size_bytes, report.samples_file.sha256)


def checked_name(file: str) -> str:
    """Return `file` if it is a plain name that no file system and no shell reads in its own way.

    Raises:
        ValueError: it is not.
    """
    if not FILE_NAME.fullmatch(plain_name(file)):
        raise ValueError(f"file {file[:100]!r} is no plain name of letters, digits and ._-")
    return file


def _check(folder: Path, file: str, size_bytes: int | None, sha256: str) -> None:
    path = folder / checked_name(file)
    try:
        size, digest = path.stat().st_size, hashlib.sha256()
        if size_bytes is not None and size != size_bytes:
            raise ValueError(f"{file} has {size} bytes; its report says {size_bytes}")
        with path.open("rb") as stream:
            while block := stream.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}; its report names it") from error
    if digest.hexdigest() != sha256:
        raise ValueError(f"{file} has sha256 {digest.hexdigest()}; its report says {sha256}")


def _write(path: Path, parts: dict[int, bytes]) -> Path:
    with path.open("wb") as stream:
        for number in sorted(parts):
            stream.write(parts[number])
    return path
