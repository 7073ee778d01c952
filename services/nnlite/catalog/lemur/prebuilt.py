"""Ready `.tflite` files of LEMUR's models, as upstream publishes them: a folder for each precision.

`fp32/NAME.tflite`, `int8/NAME_int8.tflite`, `mixed/img-classification_cifar-10_acc_NAME/model.tflite`: the
file or its folder has the model's name, with or without the precision, task, dataset and metric.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from nnlite.catalog.model import SEEDED_WEIGHTS, CatalogError, CatalogModel
from nnlite.catalog.untrusted import checks
from nnlite.host.files import file_sha256
from nnlite.settings.groups import CatalogSettings
from nnlite.vocabulary import Layout, ModelFormat

SUFFIX = ".tflite"
#: Before the model's name in names of folders.
_PREFIXES = 3


class PrebuiltTree:
    """The ready files below a folder.

    Raises:
        CatalogError: there is no such folder.
    """

    def __init__(self, path: Path, limits: CatalogSettings) -> None:
        if not path.is_dir():
            raise CatalogError(f"--prebuilt {path} is no folder; name one with fp32/, int8/, ... in it")
        self.path, self._limits = path, limits
        self._by_hash: dict[str, Path] = {}

    def models(self, models: Iterable[CatalogModel]) -> list[CatalogModel]:
        """Return a row for each file that has the name of one of `models`: its task, dataset and transform.

        Raises:
            CatalogError: no file has such a name.
        """
        by_name = {model.name: model for model in models}
        found = [
            self._row(by_name[name], file)
            for file in self._files
            if (name := next(filter(by_name.__contains__, _candidates(file.relative_to(self.path))), None))
        ]
        if not found:
            raise CatalogError(
                f"no file of {self.path} has the name of a model: {len(self._files)} files *{SUFFIX} were "
                "found; `nnlite models` lists the names"
            )
        return sorted(found, key=lambda model: (model.name, model.weights))

    def file(self, model: CatalogModel) -> Path:
        """Return the file of one of `models`; CatalogError if it changed since it was listed."""
        return checks.unchanged_file(self._by_hash[model.weights], model.weights)

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(self.path.rglob(f"*{SUFFIX}"))

    def _row(self, model: CatalogModel, file: Path) -> CatalogModel:
        sha256, skipped = SEEDED_WEIGHTS, None
        try:
            if not file.resolve().is_relative_to(self.path.resolve()):
                raise CatalogError(f"{file.name} leads out of {self.path}")
            checks.check(file, self._limits.max_file_mb)
            sha256 = file_sha256(file)
            self._by_hash[sha256] = file
        except CatalogError as error:
            skipped = f"broken: {error}"
        except OSError as error:
            skipped = f"broken: {file} cannot be read: {error.strerror}"
        return replace(
            model,
            code_sha256=None,
            hyperparameters={},
            input_shape=None,
            inputs=(),
            layout=Layout.AS_IS,
            model_format=ModelFormat.PREBUILT,
            weights=sha256,
            weights_suffix=None if skipped else SUFFIX,
            parameters=None,
            skipped=skipped,
        )


def _candidates(file: Path) -> Iterator[str]:
    """Yield the names that the model of a file below the tree may have."""
    precision = file.parts[0]
    for word in (file.stem, *reversed(file.parts[:-1])):
        without = word.removesuffix(f"_{precision}")
        yield from (word, without)
        parts = without.split("_", _PREFIXES)
        if len(parts) > _PREFIXES:
            yield parts[_PREFIXES]
