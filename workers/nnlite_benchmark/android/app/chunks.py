"""Assembles the app's output files from chunks and verifies them against the report.

The app sends a file as chunks in instrumentation statuses if it cannot write it
to a folder that the host can read. Names, counts and bytes are untrusted:
nothing is written outside the folder, and every file must have the sha256 of
the report.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnlite.host.files import file_sha256
from nnlite.reports.schema import RunReport
from nnlite_benchmark.android.app.crashes import PACKAGE
from nnlite_benchmark.protocol.analysis.measurement import plain_name

#: Total size limit of the chunks of one run.
MAX_CHUNKS_BYTES: Final = 64 * 1024 * 1024
#: Limit of files per run: the outputs that a report may have, and the samples.
MAX_FILES: Final = 300
FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A part of a file, sent in an instrumentation status."""

    #: Name of the file; not validated yet.
    file: str
    #: From 0.
    index: int
    #: Number of chunks of the file.
    count: int
    data: bytes


class ChunkAssembler:
    """Collects chunks in any order and writes the files."""

    def __init__(self, *, max_bytes: int = MAX_CHUNKS_BYTES) -> None:
        self._files: dict[str, dict[int, bytes]] = {}
        self._counts: dict[str, int] = {}
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes

    def add(self, chunk: Chunk) -> None:
        """Store one chunk.

        Raises:
            ValueError: it contradicts earlier chunks, its name is no plain file name, or a limit is exceeded.
        """
        name = checked_name(chunk.file)
        if not 0 <= chunk.index < chunk.count:
            raise ValueError(f"chunk {chunk.index} of {name} is outside its {chunk.count} chunks")
        if self._counts.setdefault(name, chunk.count) != chunk.count:
            raise ValueError(f"{name} has {self._counts[name]} chunks, then {chunk.count}")
        if len(self._counts) > MAX_FILES:
            raise ValueError(f"{name} exceeds the limit of {MAX_FILES} files per run")
        parts = self._files.setdefault(name, {})
        if chunk.index in parts:
            raise ValueError(f"chunk {chunk.index} of {name} was sent twice")
        self._left_bytes -= len(chunk.data)
        if self._left_bytes < 0:
            raise ValueError(f"chunk {chunk.index} of {name} exceeds the limit of {self._max_bytes} bytes")
        parts[chunk.index] = chunk.data

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write every file into `folder`; nothing is written unless all are complete.

        Raises:
            ValueError: a chunk is missing.
        """
        for name, parts in self._files.items():
            if len(parts) < self._counts[name]:
                missing = next(number for number in range(self._counts[name]) if number not in parts)
                raise ValueError(f"chunk {missing} of {self._counts[name]} of {name} is missing")
        return tuple(_write(folder / name, parts) for name, parts in self._files.items())


def file_names(report: RunReport) -> tuple[str, ...]:
    """Return the names of the report's files, validated as plain file names.

    Raises:
        ValueError: a name is no plain file name, or is not unique.
    """
    samples = (report.samples_file.file,) if report.samples_file else ()
    names = [checked_name(name) for name in (*(output.file for output in report.outputs), *samples)]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the report names {duplicate} twice")
    return tuple(names)


def check_files(report: RunReport, folder: Path) -> None:
    """Verify size and sha256 of the report's files.

    Raises:
        ValueError: a file is missing or differs; the message names it.
    """
    file_names(report)
    for output in report.outputs:
        _check(folder, output.file, output.size_bytes, output.sha256)
    if report.samples_file is not None:
        _check(folder, report.samples_file.file, report.samples_file.size_bytes, report.samples_file.sha256)


def checked_name(file: str) -> str:
    """Return `file` if it is a plain file name without characters that are special to a shell.

    Raises:
        ValueError: it is not.
    """
    if not FILE_NAME.fullmatch(plain_name(file)):
        raise ValueError(f"file {file[:100]!r} is no plain name of letters, digits and ._-")
    return file


def _check(folder: Path, file: str, size_bytes: int | None, sha256: str) -> None:
    path = folder / checked_name(file)
    try:
        size = path.stat().st_size
        if size_bytes is not None and size != size_bytes:
            raise ValueError(f"{file} has {size} bytes; its report says {size_bytes}")
        actual = file_sha256(path)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}; its report names it") from error
    if actual != sha256:
        raise ValueError(f"{file} has sha256 {actual}; its report says {sha256}")


def _write(path: Path, parts: dict[int, bytes]) -> Path:
    path.write_bytes(b"".join(parts[number] for number in sorted(parts)))
    return path


def checked_folder(folder: str, run: str) -> str:
    """Return the app's folder of this run after validation, because it will be removed.

    Raises:
        ValueError: it does not belong to the app, or to this run.
    """
    parts = folder.split("/")
    if not folder.startswith("/") or parts[-1] != run or PACKAGE not in parts or ".." in parts:
        raise ValueError(f"folder {folder!r} is not the app's folder of run {run}")
    return folder
