"""LEMUR source: 10,482 PyTorch models with training records, read as files and never imported."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from nnlite.catalog.lemur.archive import Archive
from nnlite.catalog.lemur.cache import cache_key, read_cache, write_cache
from nnlite.catalog.lemur.checkpoints import SUFFIX, Checkpoints
from nnlite.catalog.lemur.configuration import BEST, TrialFilter
from nnlite.catalog.lemur.listing import SOURCE, read_models, read_variants
from nnlite.catalog.lemur.location import find_lemur
from nnlite.catalog.lemur.prebuilt import PrebuiltTree
from nnlite.catalog.lemur.shapes import table_version
from nnlite.catalog.lemur.variants import SEPARATOR, architecture, parse_configs
from nnlite.catalog.limits import apply_limits
from nnlite.catalog.model import CatalogError, CatalogModel, SourceOptionError, text_sha256
from nnlite.catalog.untrusted.checks import unchanged_file
from nnlite.settings import Settings


class LemurSource:
    """LEMUR as a source of models.

    Args:
        transform: choose only trials with this transform; it also applies to models without trials.
        dataset: choose only trials on this dataset, likewise.
        configs: how many configurations of each architecture: `best`, `all` or a number.
        weights: folder or zip file of trained weights, `NAME.pth`; only models that have some are listed.
        prebuilt: folder of ready `.tflite` files of models; only these are listed, each as it is.
        wanted: names and patterns of the architectures whose further configurations are looked for; empty:
            all.
    """

    name = SOURCE

    def __init__(
        self,
        settings: Settings,
        *,
        transform: str | None = None,
        dataset: str | None = None,
        configs: str = BEST,
        weights: Path | None = None,
        prebuilt: Path | None = None,
        wanted: tuple[str, ...] = (),
    ) -> None:
        if weights and prebuilt:
            raise SourceOptionError("ready files have weights of their own: omit --weights or --prebuilt")
        self._settings = settings
        self._wanted = wanted
        self._configs = parse_configs(configs)
        self._only = TrialFilter(transform=transform, dataset=dataset)
        self._archive: Archive | None = None
        cache = settings.home / "cache" / "weights"
        self._checkpoints = Checkpoints(weights.expanduser(), cache) if weights else None
        self._prebuilt = PrebuiltTree(prebuilt.expanduser(), settings.catalog) if prebuilt else None

    @property
    def archive(self) -> Archive:
        """The copy of LEMUR that is read; CatalogError when there is none."""
        if self._archive is None:
            self._archive = find_lemur(self._settings)
        return self._archive

    def models(self) -> list[CatalogModel]:
        """Return every model, skipped ones included, sorted by name."""
        models = self._unlimited()
        if self._checkpoints is not None:
            models = self._trained(models, self._checkpoints)
        if self._prebuilt is not None:
            models = self._prebuilt.models(models)
        return apply_limits(models, self._settings.catalog)

    def weights_file(self, model: CatalogModel) -> Path:
        """Return the checkpoint or ready file of a model; CatalogError if it changed since it was listed."""
        if self._prebuilt is not None:
            return self._prebuilt.file(model)
        if self._checkpoints is None:
            raise CatalogError(f"{model.name} has no weights file; --weights names a folder of them")
        return unchanged_file(self._checkpoints.file(model.name), model.weights)

    @staticmethod
    def _trained(models: Iterable[CatalogModel], checkpoints: Checkpoints) -> list[CatalogModel]:
        trained = [
            replace(model, weights=checkpoints.sha256(model.name), weights_suffix=SUFFIX)
            for model in models
            if model.name in checkpoints.names
        ]
        if not trained:
            raise CatalogError(
                f"no file of {checkpoints.path} has the name of a model: {len(checkpoints.names)} files "
                f"NAME{SUFFIX} were found; `nnlite models` lists the names"
            )
        return trained

    def code(self, model: CatalogModel) -> str:
        """Return the model's code; CatalogError when it is gone or was edited since it was listed."""
        return _unchanged(
            self.archive.model_code(architecture(model.name)), model.code_sha256, f"model {model.name}"
        )

    def transform_code(self, model: CatalogModel) -> str | None:
        """Return the code of the model's transform, or None where it has none; CatalogError like `code`."""
        if model.transform is None or model.transform_sha256 is None:
            return None
        code = self.archive.transform_code(model.transform)
        return _unchanged(code, model.transform_sha256, f"transform {model.transform}")

    def _unlimited(self) -> list[CatalogModel]:
        if self._configs == 1 or not self._wanted:
            return self._listed(self._configs)
        chosen = self._listed(1)
        names = {
            model.name for model in chosen if any(_may_select(each, model.name) for each in self._wanted)
        }
        sizes = self._settings.catalog
        return read_variants(self.archive, self._only, sizes, self._configs, chosen=chosen, names=names)

    def _listed(self, configs: int | None) -> list[CatalogModel]:
        archive, sizes = self.archive, self._settings.catalog
        numbers = (sizes.variable_size, sizes.vocabulary_words, sizes.vocabulary_characters)
        request = [str(archive.path.resolve()), str(self._only), str(numbers), str(configs)]
        key = cache_key(*request, archive.fingerprint(), table_version())
        # One file per request: a newer LEMUR takes the place of the older one's rows.
        name = f"lemur-{hashlib.sha256(' '.join(request).encode()).hexdigest()[:16]}.json"
        path = self._settings.home / "cache" / name
        models = read_cache(path, key)
        if models is None:
            models = read_models(archive, self._only, sizes, configs)
            write_cache(path, key, models)
        return models


def _may_select(wanted: str, architecture_name: str) -> bool:
    """Whether a name or pattern may select a configuration of an architecture, by its literal start."""
    start = re.split(r"[*?[]", wanted, maxsplit=1)[0]
    if start == wanted or SEPARATOR in start:
        return architecture_name == architecture(start)
    return architecture_name.startswith(start)


def _unchanged(code: str, sha256: str | None, what: str) -> str:
    if text_sha256(code) != sha256:
        raise CatalogError(f"{what} was edited since it was listed; submit again to take it as it is now")
    return code
