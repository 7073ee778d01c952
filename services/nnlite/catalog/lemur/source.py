"""LEMUR source: 10,482 PyTorch models with training records, read as files and never imported."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnlite.artifacts.store import file_sha256
from nnlite.catalog.lemur.archive import TRANSFORMS, Archive
from nnlite.catalog.lemur.cache import cache_key, read_cache, write_cache
from nnlite.catalog.lemur.checkpoints import SUFFIX, Checkpoints
from nnlite.catalog.lemur.configuration import (
    BEST,
    Choices,
    TrainingConfig,
    Trial,
    TrialFilter,
    choose,
    default_hyperparameters,
    rank,
    training_config_of,
)
from nnlite.catalog.lemur.datasets import DATASETS
from nnlite.catalog.lemur.expected_input import ExpectedInputs, Sizes
from nnlite.catalog.lemur.location import find_lemur
from nnlite.catalog.lemur.network_keys import network_keys
from nnlite.catalog.lemur.shapes import table_version
from nnlite.catalog.lemur.tasks import TEXT_DATASETS, task_of_code, why_unsupported
from nnlite.catalog.lemur.variants import Names, architecture, fingerprint, label, parse_configs
from nnlite.catalog.limits import apply_limits
from nnlite.catalog.model import CatalogError, CatalogModel, text_sha256
from nnlite.catalog.selection import did_you_mean
from nnlite.catalog.untrusted.source_text import (
    required_hyperparameters,
    supported_hyperparameters,
    why_unusable,
)
from nnlite.settings import Settings

#: Used for models without training statistics.
_NO_CONFIG = TrainingConfig("", "", "", "")


class LemurSource:
    """LEMUR as a source of models.

    Args:
        settings: locations of LEMUR and of the cache, and limits.
        transform: choose only trials with this transform; it also applies to models without trials.
        dataset: choose only trials on this dataset, likewise.
        configs: how many configurations of each architecture: `best`, `all` or a number.
        weights: folder or zip file of trained weights, `NAME.pth`; only models that have some are listed.
    """

    name = "lemur"

    def __init__(
        self,
        settings: Settings,
        *,
        transform: str | None = None,
        dataset: str | None = None,
        configs: str = BEST,
        weights: Path | None = None,
    ) -> None:
        self._settings = settings
        self._configs = parse_configs(configs)
        self._only = TrialFilter(transform=transform, dataset=dataset)
        self._archive: Archive | None = None
        cache = settings.home / "cache" / "weights"
        self._checkpoints = Checkpoints(weights.expanduser(), cache) if weights else None

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
        return apply_limits(models, self._settings.catalog)

    def weights_file(self, model: CatalogModel) -> Path:
        """Return the checkpoint of a model; CatalogError if it changed since it was listed."""
        if self._checkpoints is None:
            raise CatalogError(f"{model.name} has no weights file; --weights names a folder of them")
        file = self._checkpoints.file(model.name)
        if not file.is_file() or file_sha256(file) != model.weights:
            raise CatalogError(f"{file} has changed since it was listed; submit again to take it")
        return file

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
        archive, sizes = self.archive, Sizes.of(self._settings.catalog)
        request = [str(archive.path.resolve()), str(self._only), str(sizes), str(self._configs)]
        key = cache_key(*request, archive.fingerprint(), table_version())
        # One file per request: a newer LEMUR takes the place of the older one's rows.
        name = f"lemur-{hashlib.sha256(' '.join(request).encode()).hexdigest()[:16]}.json"
        path = self._settings.home / "cache" / name
        models = read_cache(path, key)
        if models is None:
            models = read_models(archive, self._only, sizes, self._configs)
            write_cache(path, key, models)
        return models


def read_models(
    archive: Archive, only: TrialFilter, sizes: Sizes, configs: int | None = 1
) -> list[CatalogModel]:
    """Read every model and choose its configurations; no cache, no limits.

    Args:
        archive: the copy of LEMUR to read.
        only: which trials count.
        sizes: those that LEMUR does not record.
        configs: at most this many of each architecture, all of them different networks; None: all.

    Raises:
        CatalogError: it holds no models, or cannot be read, or the filter names what does not exist.
    """
    transforms = {name: text_sha256(code) for name, code in archive.transforms().items()}
    if not transforms:
        raise CatalogError(
            f"{archive.path} holds no transforms ({TRANSFORMS}), without which no model's input is known; "
            "check LEMUR out whole, or name another copy"
        )
    _check(only, transforms)
    trials: Iterable[Trial] = archive.trials()
    others: dict[str, list[Trial]] = {}
    if configs != 1:
        trials = list(trials)
        for trial in filter(only.takes, trials):
            others.setdefault(trial.name, []).append(trial)
    listing = _Listing(
        archive=archive,
        choices=choose(trials, only),
        only=only,
        inputs=ExpectedInputs(transforms, sizes),
        runs=archive.runs(),
    )
    models = []
    for name, code in archive.models():
        text = _Code(text=code, sha256=text_sha256(code), unusable=why_unusable(code))
        best = listing.row(name, text, listing.choices.trials.get(name))
        models += [best, *listing.variants(best, text, others.get(name, ()))][:configs]
    if not models:
        raise CatalogError(
            f"{archive.path} holds no models; nn-dataset 2.1.2 is the last release that does: nnlite fetch"
        )
    return models


@dataclass(frozen=True, kw_only=True)
class _Code:
    """A model's code and what all its configurations share."""

    text: str
    sha256: str
    unusable: str | None


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """Everything that the rows of one listing are made from."""

    archive: Archive
    choices: Choices
    only: TrialFilter
    inputs: ExpectedInputs
    #: Training configs that mobile results record, by model name.
    runs: Mapping[str, TrainingConfig]

    def variants(self, best: CatalogModel, code: "_Code", trials: Sequence[Trial]) -> list[CatalogModel]:
        """Return one configuration for each further network among the trials.

        Those that can be converted come first, then in the order in which they would be chosen.
        """
        if len(trials) < 2 or code.unusable:
            return []
        keys, names = network_keys(code.text), Names(best.name)
        networks = {fingerprint(best, keys)}
        others = []
        for trial in sorted(trials, key=rank):
            model = self.row(best.name, code, trial)
            found = fingerprint(model, keys)
            if found not in networks:
                networks.add(found)
                others.append(replace(model, name=names.of(label(model, best, keys), found)))
        return sorted(others, key=lambda model: model.skipped is not None)

    def row(self, name: str, code: "_Code", trial: Trial | None) -> CatalogModel:
        task = None if trial else task_of_code(code.text)
        config = training_config_of(trial) if trial else self._untrained(name, task)
        skipped = code.unusable or self._without_configuration(name, config, task)
        if config is not None and skipped is None:
            skipped = why_unsupported(config.task, code.text)
        config = config or _NO_CONFIG
        known = self.inputs.of(config)
        skipped = skipped or known.skipped
        return CatalogModel(
            source=LemurSource.name,
            name=name,
            code_sha256=code.sha256,
            task=config.task,
            dataset=config.dataset,
            metric=config.metric,
            transform=config.transform or None,
            transform_sha256=self.inputs.transforms.get(config.transform),
            hyperparameters=self._hyperparameters(trial, code.text, config, skipped, task),
            configuration_source=f"trial:{trial.uid}" if trial else "default",
            input_shape=known.shape.batch_of_one if known.shape else None,
            input_dtype=known.shape.dtype if known.shape else "float32",
            inputs=known.inputs,
            classes=self.inputs.classes(config),
            accuracy=trial.accuracy if trial else None,
            skipped=skipped,
        )

    def _untrained(self, name: str, task: str | None) -> TrainingConfig | None:
        """Return the config of a model without trials; `task` is what its code shows, None: nothing."""
        config = self.runs.get(name)
        if config is not None and self.only.allows(config.transform, config.dataset):
            return config
        return self.choices.usual_by_task.get(task) if task else self.choices.default_config(name)

    def _without_configuration(
        self, name: str, config: TrainingConfig | None, task: str | None
    ) -> str | None:
        if name in self.choices.filtered_out:
            return f"no such trial: it was never trained with {self.only}"
        if config is None and task:
            return f"no statistics: its code is one for {task}, of which no model has a trial to go by"
        if config is None:
            return "no statistics: neither this model nor any other has a trial to go by"
        return None

    def _hyperparameters(
        self, trial: Trial | None, code: str, config: TrainingConfig, skipped: str | None, task: str | None
    ) -> dict[str, Any]:
        if trial:
            return self.archive.hyperparameters(trial)
        if skipped:
            return {}
        names = supported_hyperparameters(code)
        # Detectors and their like read more than they declare.
        names = (*names, *required_hyperparameters(code)) if task else names
        return default_hyperparameters(names, config.transform)


def _check(only: TrialFilter, transforms: dict[str, str]) -> None:
    for kind, value, known in (
        ("transform", only.transform, list(transforms)),
        ("dataset", only.dataset, [*DATASETS, *TEXT_DATASETS]),
    ):
        if value is not None and value not in known:
            raise CatalogError(f"LEMUR has no {kind} {value}{did_you_mean(value, known)}")


def _unchanged(code: str, sha256: str | None, what: str) -> str:
    if text_sha256(code) != sha256:
        raise CatalogError(f"{what} was edited since it was listed; submit again to take it as it is now")
    return code
