"""Atomic file writes, of which readers see the old content or the new, never a part; and hashes of files."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

#: Bytes in which large files are written. For larger writes Linux looks for as large blocks of memory and
#: moves what is in their way: where memory is full of cached files, that costs several times the writing.
WRITE_BYTES: Final = 1 << 17


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it becomes `path` when the block ends without an error.

    It is hidden and has another suffix, so that no pattern for `path`'s siblings matches it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(
    path: Path, content: str | bytes, *, private: bool = False, durable: bool = False
) -> None:
    """Write a file in one step.

    Args:
        path: the file; its folder exists.
        content: all of it; text is encoded as UTF-8.
        private: give it mode 0600, whatever the umask is.
        durable: have it on disk before it is renamed, so that a power cut leaves the old file or the new.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    raw = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600 if private else 0o666), "wb") as file:
            file.write(raw)
            if durable:
                file.flush()
                os.fsync(file.fileno())


def write_in_blocks(file: IO[bytes], content: bytes | bytearray | memoryview) -> None:
    """Write large content in blocks of `WRITE_BYTES`."""
    raw = memoryview(content).cast("B")
    for start in range(0, len(raw), WRITE_BYTES):
        file.write(raw[start : start + WRITE_BYTES])


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
