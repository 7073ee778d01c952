"""Shared store of artifacts and reports: a folder, NFS or S3, through fsspec.

Artifacts are named by their content hash and never changed, so writing one twice
is harmless. Reports are stored next to them, one per benchmark, and replaced
atomically: a reader never sees a partial file. Only this module knows paths.
"""

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from nnlite.errors import NnliteError, Unavailable
from nnlite.host.files import file_sha256, replacing
from nnlite.settings import Settings

#: Paths of files that the methods below store, and what a killed process left of them.
_OWN_FILE: Final = re.compile(
    r"[0-9a-f]{2}/(?:[0-9a-f]{64}\.\w+|\.[0-9a-f]{32})"
    r"|reports/[^/]+/(?:[^/]+-[0-9a-f]{8}\.json|\.[0-9a-f]{32})"
)
#: Of the files with outputs of artifacts, the host's and other devices'.
OUTPUT_SUFFIX: Final = ".bin"


class StoreError(Unavailable):
    """The store is unavailable (unreachable, full, permission denied); a later try may succeed."""


class ArtifactGoneError(NnliteError):
    """A referenced file is missing from the store, or its content no longer matches its hash."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the store."""

    #: Relative to the store.
    path: str
    size_bytes: int
    modified_at: datetime


class ArtifactStore:
    """Content-addressed files below one fsspec URL.

    Args:
        url: a folder, or any fsspec URL such as `s3://bucket/prefix`.
        scratch: a local folder for copies of remote files; created when needed.
    """

    def __init__(self, url: str, scratch: Path) -> None:
        try:
            filesystem, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"NNLITE_ARTIFACTS_URL={url}: {error}; write a folder or an fsspec URL"
            ) from error
        self._fs: Any = filesystem
        self._root: str = str(root).rstrip("/")
        self._local = isinstance(filesystem, LocalFileSystem)
        self._scratch = scratch
        self.url = url

    def put(self, file: Path, suffix: str, *, own_sha256: str | None = None) -> str:
        """Store `file` and return its path in the store.

        Args:
            suffix: of the name, such as `.tflite`.
            own_sha256: its hash, where this process made the file and nothing changes it any more: on the
                file system of the store it is linked. None: a copy is stored.

        Raises:
            StoreError: it could not be stored; no partial file is visible.
        """
        path = content_path(own_sha256, suffix) if own_sha256 else path_in_store(file, suffix)
        with self._explained():
            if self.holds(path, file.stat().st_size):
                if self._local:  # so that nothing deletes it as old and unknown
                    os.utime(f"{self._root}/{path}")
            else:
                self._place(path, lambda temporary: self._fill(temporary, file, link=own_sha256 is not None))
        return path

    def _fill(self, temporary: str, file: Path, *, link: bool) -> None:
        """Make `temporary` a link to `file` or a copy of it."""
        # A copy has the group that people may have chosen for the store.
        if link and self._local and Path(temporary).parent.stat().st_gid == file.stat().st_gid:
            with contextlib.suppress(OSError):  # another file system, or one without links
                os.link(file, temporary)
                return
        self._fs.put_file(str(file), temporary)

    def put_report(self, content: bytes, *, campaign: str, name: str, benchmark_id: uuid.UUID) -> str:
        """Store the report of a benchmark, replacing an earlier one, and return its path.

        Args:
            campaign: name of the folder.
            name: for people, such as `MODEL-PRECISION-POOL`.
            benchmark_id: makes the name unique.

        Raises:
            StoreError: it could not be stored; no partial file is visible.
        """
        unique = f"{file_name(name)}-{benchmark_id.hex[:8]}.json"
        path = f"reports/{file_name(campaign)}/{unique}"
        with self._explained():
            self._place(path, lambda temporary: self._fs.pipe_file(temporary, content))
        return path

    def _place(self, path: str, write: Callable[[str], object]) -> None:
        """Let `write` fill a temporary file, and rename it to `path` when it is complete."""
        folder = f"{self._root}/{path.rpartition('/')[0]}"
        temporary = f"{folder}/.{uuid.uuid4().hex}"
        self._fs.makedirs(folder, exist_ok=True)
        try:
            write(temporary)
            self._fs.mv(temporary, f"{self._root}/{path}")
        except BaseException:
            if self._fs.exists(temporary):
                self._fs.rm_file(temporary)
            raise

    def holds(self, path: str, size_bytes: int | None = None) -> bool:
        """Return whether `path` is in the store, with that size if one is given.

        Raises:
            StoreError: the store is unavailable.
        """
        with self._explained(), contextlib.suppress(FileNotFoundError):
            return self._fs.size(f"{self._root}/{path}") == size_bytes or size_bytes is None
        return False

    def fetch(self, path: str) -> Path:
        """Return a local copy of `path`, with its hash verified; a file of a local store is not copied.

        Raises:
            ArtifactGoneError: missing, or its content does not match the hash in its name.
            StoreError: the store is unavailable.
        """
        expected = Path(path).name.partition(".")[0]
        local = Path(f"{self._root}/{path}") if self._local else self._scratch / path
        with self._explained():
            try:
                if not self._local and not local.exists():
                    self._copy(path, local)
                actual = file_sha256(local)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                raise ArtifactGoneError(f"artifact {path} is not in {self.url}") from error
        if actual != expected:
            if not self._local:
                local.unlink()
            raise ArtifactGoneError(
                f"artifact {path} in {self.url} is truncated or changed: its hash is {actual}"
            )
        return local

    def _copy(self, path: str, local: Path) -> None:
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(local) as temporary:
                self._fs.get_file(f"{self._root}/{path}", str(temporary))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StoreError(
                    f"{self._scratch} is full, where artifacts are copied to: free some space there"
                ) from error
            raise

    def discard(self, path: str) -> None:
        """Remove a file whose content does not match its name, so that it can be stored again."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{path}")

    def discard_reports(self, benchmarks: Collection[uuid.UUID]) -> None:
        """Remove the reports of `benchmarks`, under whatever names of their campaign they were stored.

        Raises:
            StoreError: the store is unavailable.
        """
        folder = f"{self._root}/reports"
        endings = {f"{benchmark.hex[:8]}.json" for benchmark in benchmarks}
        with self._explained():
            found = self._fs.find(folder) if self._fs.exists(folder) else []
        for path in found:
            if path.rpartition("-")[2] in endings:
                self.discard(path.removeprefix(f"{self._root}/"))

    def files(self) -> Iterator[StoredFile]:
        """Yield the files that nnlite has put into the store; others are not its own.

        Raises:
            StoreError: the store is unavailable.
        """
        with self._explained():
            for path in self._fs.find(self._root) if self._fs.exists(self._root) else ():
                name = path.removeprefix(f"{self._root}/")
                if _OWN_FILE.fullmatch(name):
                    modified: datetime = self._fs.modified(path)  # without a time zone it is UTC
                    modified_at = modified if modified.tzinfo else modified.replace(tzinfo=UTC)
                    yield StoredFile(name, self._fs.size(path), modified_at)

    def check(self) -> None:
        """Check that the store is writable.

        Raises:
            StoreError: it is not; the message says why.
        """
        probe = f"{self._root}/.{uuid.uuid4().hex}"
        with self._explained():
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(probe, b"nnlite")
            self._fs.rm_file(probe)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise StoreError for every error of the file system inside the block."""
        try:
            yield
        except OSError as error:
            why = f"cannot be used: {error.strerror or error}"
            if error.errno == errno.ENOSPC:
                free = f" ({shutil.disk_usage(self._root).free >> 20} MiB free)" if self._local else ""
                why = f"is full{free}: free some space there"
            raise StoreError(f"the artifact store {self.url} {why}") from error


def content_path(sha256: str, suffix: str) -> str:
    """Return the path in a store of the content with this hash."""
    return f"{sha256[:2]}/{sha256}{suffix}"


def path_in_store(file: Path, suffix: str) -> str:
    """Return the path that a copy of `file` has in a store."""
    return content_path(file_sha256(file), suffix)


def file_name(text: str) -> str:
    """Return `text` as a file name: letters, digits, dot, dash and underscore, not hidden, not too long."""
    return re.sub(r"[^\w.-]|^\.", "_", text, flags=re.ASCII)[:150]


def open_store(settings: Settings) -> ArtifactStore:
    """Return the store that the settings configure; default: a folder in NNLITE_HOME."""
    return ArtifactStore(settings.artifacts, settings.home / "cache")
