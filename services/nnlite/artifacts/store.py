"""The shared store of `.tflite` files and of what was measured of them: a folder, NFS or S3, through fsspec.

Artifacts lie under their content hash and are never changed, so that writing
twice is harmless. Reports lie beside them, one per benchmark, and are replaced
whole. A reader never sees half a file. Only this module knows paths.
"""

import errno
import hashlib
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from nnlite.errors import NnliteError
from nnlite.host.files import replacing
from nnlite.settings import Settings

_CHUNK = 1 << 20


class StoreError(NnliteError):
    """The store cannot be used now (unreachable, full, forbidden); trying later may help."""


class ArtifactGoneError(NnliteError):
    """A file that the database names is not in the store, or is not what it was."""


class ArtifactStore:
    """Content-addressed files below one fsspec URL.

    Args:
        url: a folder, or any fsspec URL such as `s3://bucket/prefix`.
        scratch: a local folder for copies of remote files; made when needed.
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

    def put(self, file: Path, suffix: str) -> str:
        """Store a copy of `file` and return its path in the store.

        Args:
            suffix: how the name ends, such as `.tflite`.

        Raises:
            StoreError: it could not be stored; nothing of it is visible.
        """
        sha256 = file_sha256(file)
        path = content_path(sha256, suffix)
        try:
            if not self.holds(path, file.stat().st_size):
                self._place(path, lambda temporary: self._fs.put_file(str(file), temporary))
        except OSError as error:
            raise StoreError(self._explain(error)) from error
        return path

    def put_report(self, content: bytes, *, campaign: str, name: str, benchmark_id: uuid.UUID) -> str:
        """Store what was measured in one benchmark, in place of an earlier report of it; return its path.

        Args:
            content: JSON.
            name: for people, such as `MODEL-PRECISION-POOL`; the benchmark's id makes it unique.

        Raises:
            StoreError: it could not be stored; nothing of it is visible.
        """
        unique = f"{file_name(name)}-{benchmark_id.hex[:8]}.json"
        path = f"reports/{file_name(campaign)}/{unique}"
        try:
            self._place(path, lambda temporary: self._fs.pipe_file(temporary, content))
        except OSError as error:
            raise StoreError(self._explain(error)) from error
        return path

    def _place(self, path: str, write: Callable[[str], object]) -> None:
        """Let `write` fill a file under another name, and give it the name `path` when it is whole."""
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
        """Whether `path` is in the store, with that size where one is given.

        Raises:
            StoreError: the store does not answer.
        """
        try:
            return self._fs.size(f"{self._root}/{path}") == size_bytes or size_bytes is None
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(self._explain(error)) from error

    def fetch(self, path: str) -> Path:
        """Return a local file with the content that `path` names; a folder's own file is not copied.

        Raises:
            ArtifactGoneError: missing, or its content does not have the hash of its name.
            StoreError: the store does not answer.
        """
        expected = Path(path).name.partition(".")[0]
        local = Path(f"{self._root}/{path}") if self._local else self._scratch / path
        try:
            if not self._local and not local.exists():
                self._copy(path, local)
            found = file_sha256(local)
        except FileNotFoundError as error:
            raise ArtifactGoneError(f"artifact {path} is not in {self.url}") from error
        except OSError as error:
            raise StoreError(self._explain(error)) from error
        if found != expected:
            if not self._local:
                local.unlink()
            raise ArtifactGoneError(
                f"artifact {path} in {self.url} is truncated or changed: its hash is {found}"
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
        """Remove a file whose content is not what its name says, so that it can be stored again."""
        try:
            self._fs.rm_file(f"{self._root}/{path}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(self._explain(error)) from error

    def check(self) -> None:
        """Make sure that the store can be written to.

        Raises:
            StoreError: it cannot; the message says why.
        """
        probe = f"{self._root}/.{uuid.uuid4().hex}"
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(probe, b"nnlite")
            self._fs.rm_file(probe)
        except OSError as error:
            raise StoreError(self._explain(error)) from error

    def _explain(self, error: OSError) -> str:
        if error.errno == errno.ENOSPC:
            free = f" ({shutil.disk_usage(self._root).free >> 20} MiB free)" if self._local else ""
            return f"the artifact store {self.url} is full{free}: free some space there"
        return f"the artifact store {self.url} cannot be used: {error.strerror or error}"


def content_path(sha256: str, suffix: str) -> str:
    """Return the path in a store of the content with this hash."""
    return f"{sha256[:2]}/{sha256}{suffix}"


def file_name(text: str) -> str:
    """Return `text` as a file's name: letters, digits, dot, dash and underscore, not hidden, not too long."""
    return re.sub(r"[^\w.-]|^\.", "_", text, flags=re.ASCII)[:150]


def open_store(settings: Settings) -> ArtifactStore:
    """Return the store that the settings name; without a name, a folder of the home."""
    url = settings.artifacts_url or str(settings.home / "artifacts")
    return ArtifactStore(url, settings.home / "cache")


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
