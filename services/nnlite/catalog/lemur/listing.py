"""Lists LEMUR's models, each with the chosen configuration and with those that make other networks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnlite.catalog.lemur.archive import TRANSFORMS, Archive
from nnlite.catalog.lemur.configuration import (
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
from nnlite.catalog.lemur.expected_input import ExpectedInputs, classes_of
from nnlite.catalog.lemur.known_code import is_known
from nnlite.catalog.lemur.network_keys import network_keys
from nnlite.catalog.lemur.tasks import TEXT_DATASETS, task_of_code, why_unsupported
from nnlite.catalog.lemur.variants import Names, fingerprint, label
from nnlite.catalog.model import CatalogError, CatalogModel, text_sha256
from nnlite.catalog.untrusted.source_text import (
    required_hyperparameters,
    supported_hyperparameters,
    why_unusable,
)
from nnlite.errors import did_you_mean
from nnlite.settings.groups import CatalogSettings

#: Used for models without training statistics.
_NO_CONFIG = TrainingConfig("", "", "", "")
#: Source of the models.
SOURCE = "lemur"


def read_models(
    archive: Archive, only: TrialFilter, sizes: CatalogSettings, configs: int | None = 1
) -> list[CatalogModel]:
    """Read every model and choose its configurations; no cache, no limits.

    Args:
        configs: at most this many of each architecture, all of them different networks; None: all.

    Raises:
        CatalogError: it holds no models, or cannot be read, or the filter names what does not exist.
    """
    trials: Iterable[Trial] = archive.trials()
    others: dict[str, list[Trial]] = {}
    if configs != 1:
        trials = list(trials)
        others = _by_name(trials, only)
    listing = _listing(archive, only, sizes, trials)
    models = []
    for name, text in archive.models():
        code = _Code.of(text)
        best = listing.row(name, code, listing.choices.trials.get(name))
        models += [best, *listing.variants(best, code, others.get(name, ()))][:configs]
    if not models:
        raise CatalogError(
            f"{archive.path} holds no models; nn-dataset 2.1.2 is the last release that does: nnlite fetch"
        )
    return models


def read_variants(
    archive: Archive,
    only: TrialFilter,
    sizes: CatalogSettings,
    configs: int | None,
    *,
    chosen: Sequence[CatalogModel],
    names: Collection[str],
) -> list[CatalogModel]:
    """Return the rows `chosen`, and after each of the architectures `names` its other configurations.

    For these the result is that of `read_models`; reading their trials alone takes a fraction of its time.
    """
    trials = list(archive.trials(names))
    others = _by_name(trials, only)
    listing = _listing(archive, only, sizes, trials)
    models = []
    for best in chosen:
        further = others.get(best.name, ())
        code = _Code.of(archive.model_code(best.name)) if further else None
        models += [best, *(listing.variants(best, code, further) if code else ())][:configs]
    return models


def _by_name(trials: Iterable[Trial], only: TrialFilter) -> dict[str, list[Trial]]:
    others: dict[str, list[Trial]] = {}
    for trial in filter(only.takes, trials):
        others.setdefault(trial.name, []).append(trial)
    return others


def _listing(
    archive: Archive, only: TrialFilter, sizes: CatalogSettings, trials: Iterable[Trial]
) -> "_Listing":
    transforms = {name: text_sha256(code) for name, code in archive.transforms().items()}
    if not transforms:
        raise CatalogError(
            f"{archive.path} holds no transforms ({TRANSFORMS}), without which no model's input is known; "
            "check LEMUR out whole, or name another copy"
        )
    _check(only, transforms)
    return _Listing(
        archive=archive,
        choices=choose(trials, only),
        only=only,
        inputs=ExpectedInputs(transforms, sizes),
        runs=archive.runs(),
    )


@dataclass(frozen=True, kw_only=True)
class _Code:
    """A model's code and what all its configurations share."""

    text: str
    sha256: str
    unusable: str | None

    @classmethod
    def of(cls, text: str) -> "_Code":
        sha256 = text_sha256(text)
        return cls(text=text, sha256=sha256, unusable=None if is_known(sha256) else why_unusable(text))


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """Inputs of one listing: everything that its rows are made from."""

    archive: Archive
    choices: Choices
    only: TrialFilter
    inputs: ExpectedInputs
    #: Training configs that mobile results record, by model name.
    runs: Mapping[str, TrainingConfig]

    def variants(self, best: CatalogModel, code: _Code, trials: Sequence[Trial]) -> list[CatalogModel]:
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
            source=SOURCE,
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
            classes=classes_of(config, self.inputs.sizes),
            accuracy=trial.accuracy if trial else None,
            skipped=skipped,
        )

    def _untrained(self, name: str, task: str | None) -> TrainingConfig | None:
        """Return the config of a model without trials; `task` is what its code shows, None: nothing."""
        config = self.runs.get(name)
        if config is not None and self.only.takes(config):
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
