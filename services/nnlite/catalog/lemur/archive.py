"""Archives of LEMUR: read code, transforms and trials from a folder or directly from a wheel.

Both hold the same tree: `ab/nn/nn/<model>.py`, `ab/nn/transform/<transform>.py`,
`ab/nn/stat/train/<task>_<dataset>_<metric>_<model>/<epoch>.json`; in some checkouts the folders of statistics
are in others below `ab/nn/stat`, or directly in it. Only `1.json` is read of the statistics: later epochs
take longer, so no trial that could be chosen is missing from it. Newer trees also, or only, hold mobile
results, `ab/nn/stat/run/tflite/<precision>/<task>_<dataset>_<metric>_<model>/`; for a model without trials
they name its task and dataset.
"""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

from nnlite.catalog.lemur.configuration import TrainingConfig, Trial, hyperparameters_of
from nnlite.catalog.lemur.statistics import is_statistics, split_name, transforms_of, trials_of
from nnlite.catalog.lemur.zip_reader import ZipReader
from nnlite.catalog.model import CatalogError

MODELS = "ab/nn/nn"
TRANSFORMS = "ab/nn/transform"
STATISTICS = "ab/nn/stat"
#: What is in that folder besides statistics of training: of runs, and of the networks' code.
NO_STATISTICS = ("run", "nn")
#: Deepest folder of statistics below it.
_DEEPEST = 4
#: Mobile results by precision, preferred first, and the file of each precision that names the transforms.
RUNS = tuple(f"ab/nn/stat/run/tflite/{precision}" for precision in ("fp32", "int8", "mixed"))
RUNS_FILE = "all_models.json"
#: The epoch whose statistics are read.
EPOCH_FILE = "1.json"


class Archive(Protocol):
    """One copy of LEMUR: a folder, a wheel or a SQLite file."""

    path: Path

    def fingerprint(self) -> str:
        """Return a text that changes whenever a file that a listing reads changes."""

    def models(self) -> Iterator[tuple[str, str]]:
        """Yield name and code of every model, by name."""

    def transforms(self) -> dict[str, str]:
        """Return the code of every transform by name."""

    def trials(self, names: Collection[str] | None = None) -> Iterator[Trial]:
        """Yield the recorded trials of the first epoch; of the models `names` alone, unless that is None."""

    def runs(self) -> dict[str, TrainingConfig]:
        """Return task, dataset, metric and transform of models, by name, as mobile results record them."""

    def hyperparameters(self, trial: Trial) -> dict[str, Any]:
        """Return the arguments of the constructor in that trial."""

    def model_code(self, name: str) -> str:
        """Return the code of one model; CatalogError when it is gone."""

    def transform_code(self, name: str) -> str:
        """Return the code of one transform; CatalogError when it is gone."""


class FileArchive(Archive):
    """LEMUR as a tree of files; subclasses list and read them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def _modules(self, folder: str) -> list[str]:
        """Return the names of the Python files in `folder`, without their ending."""

    @abstractmethod
    def _statistics(self) -> Iterable[str]:
        """Return the paths of the files of the first epoch, by folder."""

    @abstractmethod
    def _folders(self, folder: str) -> list[str]:
        """Return the names in `folder`, sorted; empty if there is no such folder."""

    @abstractmethod
    def _read(self, path: str) -> bytes | None:
        """Return the content of a file, or None if it does not exist."""

    def models(self) -> Iterator[tuple[str, str]]:
        for name in sorted(self._modules(MODELS)):
            yield name, self.model_code(name)

    def transforms(self) -> dict[str, str]:
        return {name: self.transform_code(name) for name in self._modules(TRANSFORMS)}

    def trials(self, names: Collection[str] | None = None) -> Iterator[Trial]:
        for path in self._statistics():
            if names is not None and split_name(path.split("/")[-2])[-1] not in names:
                continue
            content = self._read(path)
            if content is not None:
                yield from trials_of(path.split("/")[-2], content, f"{self.path}: {path}")

    def runs(self) -> dict[str, TrainingConfig]:
        found: dict[str, TrainingConfig] = {}
        for folder in RUNS:
            transforms = transforms_of(
                self._read(f"{folder}/{RUNS_FILE}"), f"{self.path}: {folder}/{RUNS_FILE}"
            )
            for name in self._folders(folder) if transforms else ():
                task, dataset, metric, model = split_name(name)
                if model in transforms:
                    found.setdefault(model, TrainingConfig(task, dataset, metric, transforms[model]))
        return found

    def hyperparameters(self, trial: Trial) -> dict[str, Any]:
        return hyperparameters_of(trial.values)

    def model_code(self, name: str) -> str:
        return self._text(f"{MODELS}/{name}.py")

    def transform_code(self, name: str) -> str:
        return self._text(f"{TRANSFORMS}/{name}.py")

    def _text(self, path: str) -> str:
        content = self._read(path)
        if content is None:
            raise CatalogError(f"{self.path} no longer has {path}; run `nnlite models` again")
        return text_of(content)


def text_of(content: bytes) -> str:
    """Return code as Python would read it: line ends unified, so that every copy has the same hash."""
    return content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


class FolderArchive(FileArchive):
    """An installed package (its site-packages folder) or a checkout."""

    def fingerprint(self) -> str:
        """Return a hash over name, size and time of every file that a listing reads."""
        digest = hashlib.sha256()
        for folder in (MODELS, TRANSFORMS):
            files = [
                (entry.name, entry.stat()) for entry in self._entries(folder) if entry.name.endswith(".py")
            ]
            for name, status in sorted(files, key=lambda file: file[0]):
                digest.update(f"{folder}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        for path, status in self._first_epochs(STATISTICS):
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        for folder in RUNS:
            names = self._folders(folder)
            digest.update(" ".join([folder, *names]).encode())
            if RUNS_FILE in names:
                status = os.stat(f"{self.path}/{folder}/{RUNS_FILE}")  # noqa: PTH116
                digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path / folder) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _first_epochs(self, folder: str, depth: int = 0) -> Iterator[tuple[str, os.stat_result]]:
        """Yield path and status of the file of the first epoch of every folder of statistics in `folder`."""
        for name in self._folders(folder):
            if depth == 0 and name in NO_STATISTICS:
                continue
            path = f"{folder}/{name}"
            try:
                if is_statistics(name):
                    file = f"{path}/{EPOCH_FILE}"
                    yield file, os.stat(f"{self.path}/{file}")  # noqa: PTH116 (20,000 of them)
                    continue
            except OSError:
                pass
            if depth < _DEEPEST and "." not in name:
                yield from self._first_epochs(path, depth + 1)

    def _modules(self, folder: str) -> list[str]:
        return _module_names(entry.name for entry in self._entries(folder))

    def _statistics(self) -> Iterator[str]:
        return (path for path, _ in self._first_epochs(STATISTICS))

    def _folders(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self.path / folder))  # noqa: PTH208 (names are all that is needed)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _read(self, path: str) -> bytes | None:
        try:
            with open(f"{self.path}/{path}", "rb") as file:  # noqa: PTH123 (30,000 of them)
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CatalogError(f"cannot read {path} in {self.path}: {error.strerror}") from error


class WheelArchive(FileArchive):
    """A wheel file, read without unpacking."""

    def fingerprint(self) -> str:
        """Return path, size and time of the file."""
        status = self.path.stat()
        return f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns}"

    @cached_property
    def _zip(self) -> ZipReader:
        try:
            return ZipReader(self.path)
        except (OSError, BadZipFile) as error:
            raise CatalogError(
                f"{self.path} is not a readable wheel: {error}; delete it and fetch it again: nnlite fetch"
            ) from error

    def _below(self, folder: str) -> list[str]:
        start = folder + "/"
        return [path[len(start) :] for path in self._zip.paths if path.startswith(start)]

    def _modules(self, folder: str) -> list[str]:
        return _module_names(name for name in self._below(folder) if "/" not in name)

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
        try:
            return self._zip.read(path)
        except KeyError:
            return None
        except (OSError, BadZipFile) as error:
            raise CatalogError(
                f"cannot read {path} in {self.path}: {error}; delete it and fetch it again: nnlite fetch"
            ) from error


def _module_names(files: Iterable[str]) -> list[str]:
    return [name.removesuffix(".py") for name in files if name.endswith(".py") and name != "__init__.py"]
