"""Trained weights of LEMUR's models: `NAME.pth` in a folder or a zip file, as upstream publishes them.

Also `NAME/best_model.pth`, as nn-dataset's training writes it. Nothing is unpickled here; the conversion
child loads weights only.
"""

import hashlib
import shutil
import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath

import orjson

from nnlite.catalog.model import CatalogError
from nnlite.host.files import file_sha256, write_atomically

SUFFIX = ".pth"
#: Of the checkpoint in a folder that has the model's name.
_BEST = "best_model"


class Checkpoints:
    """Checkpoints by the name of their model.

    Args:
        folder: where files of a zip are unpacked to, and hashes are kept: hashing hundreds takes minutes.

    Raises:
        CatalogError: there is no such folder or zip file.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self._folder = path, folder
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            why = getattr(error, "strerror", None) or error
            raise CatalogError(f"--weights {path} is neither a folder nor a zip file: {why}") from error

    @cached_property
    def names(self) -> dict[str, str]:
        """The checkpoints by the name of their model, as paths in the folder or the zip file."""
        if self._zip is not None:
            files = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        else:
            files = [str(file.relative_to(self.path)) for file in self.path.rglob(f"*{SUFFIX}")]
        named: dict[str, str] = {}
        for file in sorted(files):
            path = PurePosixPath(file)
            if path.suffix == SUFFIX:
                named.setdefault(path.parent.name if path.stem == _BEST else path.stem, file)
        return named

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a model's checkpoint, which is part of the model's identity.

        Raises:
            CatalogError: it cannot be read.
        """
        file = self.file(name)
        try:
            status = file.stat()
            key = f"{file.resolve()} {status.st_size} {status.st_mtime_ns}"
            if key not in self._hashes:
                self._hashes[key] = file_sha256(file)
                self._folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self._folder / "hashes.json", orjson.dumps(self._hashes), private=True)
            return self._hashes[key]
        except OSError as error:
            raise CatalogError(f"weights of {name} cannot be read from {file}: {error.strerror}") from error

    def file(self, name: str) -> Path:
        """Return the checkpoint of a model; one of a zip file is unpacked."""
        member = self.names[name]
        if self._zip is None:
            return self.path / member
        info = self._zip.getinfo(member)
        digest = hashlib.sha256(f"{self.path.resolve()} {member} {info.CRC} {info.file_size}".encode())
        target = self._folder / f"{digest.hexdigest()[:32]}{SUFFIX}"
        if not target.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            try:
                with self._zip.open(info) as source, part.open("wb") as unpacked:
                    shutil.copyfileobj(source, unpacked)
                part.replace(target)
            except (OSError, zipfile.BadZipFile, EOFError) as error:
                raise CatalogError(f"{member} cannot be unpacked from {self.path}: {error}") from error
        return target

    @cached_property
    def _hashes(self) -> dict[str, str]:
        try:
            known = orjson.loads((self._folder / "hashes.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
