"""Local cache of the app's dependencies: fetched once, verified by hash at every use."""

import hashlib
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from apk import BuildError
from apk.commands import run
from apk.lock import Dependency, Registry, Use, locked
from apk.registries import fetch


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A folder of files with the hashes of the lock file; once it is filled, no network is needed."""

    folder: Path

    def fill(self, dependencies: Iterable[Dependency]) -> None:
        """Fetch missing files.

        Raises:
            BuildError: a file cannot be had, or is another one than the lock file says.
        """
        missing = [one for one in dependencies if not self._file(one).exists()]
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="fetch-") as temporary:
            fetch(missing, Path(temporary))
            for dependency in missing:
                _check(Path(temporary) / dependency.name, dependency)
                (Path(temporary) / dependency.name).replace(self._file(dependency))

    def file(self, dependency: Dependency) -> Path:
        """Return the dependency's file, with its hash verified.

        Raises:
            BuildError: it is not in the cache, or another one than the lock file says.
        """
        _check(self._file(dependency), dependency)
        return self._file(dependency)

    def files(self, use: Use) -> list[Path]:
        """Return all files with this use, in the lock file's order."""
        return [self.file(dependency) for dependency in locked(use)]

    def unpacked(self, dependency: Dependency) -> Path:
        """Return the folder with the content of an .aar, .tgz or .deb; unpacked on first use."""
        archive = self.file(dependency)
        folder = self.folder / "unpacked" / f"{dependency.name}-{dependency.sha256[:12]}"
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                place = Path(temporary) / "content"
                _unpack(archive, dependency.registry, place)
                place.rename(folder)
        return folder

    def _file(self, dependency: Dependency) -> Path:
        return self.folder / dependency.name


def _check(path: Path, dependency: Dependency) -> None:
    if not path.is_file():
        raise BuildError(f"{dependency.coordinate} is not at {path}: run `make apk` with a network")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != dependency.sha256:
        raise BuildError(
            f"{path} has sha256 {found}, but dependencies.toml says {dependency.sha256} for "
            f"{dependency.coordinate}: if the file is damaged, delete it and try again"
        )


def _unpack(archive: Path, registry: Registry, place: Path) -> None:
    match registry:
        case Registry.MAVEN:
            with zipfile.ZipFile(archive) as content:
                content.extractall(place)  # noqa: S202 -- its hash is known
        case Registry.NPM:
            # File by file: the filters of extractall came with Python 3.11.4 only.
            with tarfile.open(archive) as content:
                for member in filter(tarfile.TarInfo.isfile, content):
                    file = place / Path(member.name).name
                    file.parent.mkdir(exist_ok=True)
                    file.write_bytes(content.extractfile(member).read())  # type: ignore[union-attr]
        case Registry.DEBIAN:
            run(["dpkg-deb", "-x", archive, place], timeout_s=60, way_out="dpkg-deb is part of Debian.")
