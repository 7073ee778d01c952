"""Expected input of a model, from its task, dataset and transform: its shape, or why there is none."""

from collections.abc import Mapping
from typing import NamedTuple

from nnlite.catalog.lemur.configuration import TrainingConfig
from nnlite.catalog.lemur.datasets import DATASETS
from nnlite.catalog.lemur.shapes import InputShape, committed_table
from nnlite.catalog.lemur.tasks import (
    CAPTIONING,
    IMAGE_TASKS,
    SUPPORTED_TASKS,
    TEXT_DATASETS,
    TEXT_GENERATION,
    token_inputs,
)
from nnlite.catalog.model import ModelInput
from nnlite.settings.groups import CatalogSettings


class ExpectedInput(NamedTuple):
    """The input of a model: its image, why it is skipped, or neither (only the conversion child can tell)."""

    shape: InputShape | None
    skipped: str | None
    #: Every input where there are others than one image.
    inputs: tuple[ModelInput, ...] = ()


class ExpectedInputs:
    """Looks expected inputs up and caches them.

    Args:
        transforms: SHA-256 of each transform's code by name, or its first digits.
        sizes: has those that LEMUR does not record.
    """

    def __init__(self, transforms: Mapping[str, str], sizes: CatalogSettings) -> None:
        self.transforms = transforms
        self.sizes = sizes
        self._known: dict[TrainingConfig, ExpectedInput] = {}

    def of(self, config: TrainingConfig) -> ExpectedInput:
        """Return the input of a model with this training config."""
        if config not in self._known:
            self._known[config] = self._find(config)
        return self._known[config]

    def _find(self, config: TrainingConfig) -> ExpectedInput:
        tokens = token_inputs(config.task)
        if config.task not in SUPPORTED_TASKS:
            return ExpectedInput(None, None)  # `tasks.why_unsupported` has the reason
        if config.task == TEXT_GENERATION:
            unknown = f"unknown dataset: the vocabulary of {config.dataset} is not known"
            return ExpectedInput(None, None if config.dataset in TEXT_DATASETS else unknown, tokens)
        shape, skipped = self._image(config)
        if shape is None or not tokens:
            return ExpectedInput(shape, skipped)
        image = ModelInput(shape=shape.batch_of_one, dtype=shape.dtype)
        return ExpectedInput(shape, None, (image, *tokens))

    def _image(self, config: TrainingConfig) -> tuple[InputShape | None, str | None]:
        """Return the shape of the image, or why there is none, or neither."""
        if config.dataset not in DATASETS:
            return None, f"unknown dataset: classes and image size of {config.dataset} are not known"
        if config.transform not in self.transforms:
            return None, f"transform missing: {config.transform}.py is not in this copy of LEMUR"
        digits = self.transforms[config.transform]
        expected = committed_table().look_up(digits, config.dataset, self.sizes.variable_size)
        if isinstance(expected, str):
            return None, f"{expected} (transform {config.transform})"
        return expected, None


def classes_of(config: TrainingConfig, sizes: CatalogSettings) -> int:
    """Return the number of outputs, per pixel for segmentation; 0 where it is not known."""
    if config.task == CAPTIONING:
        return sizes.vocabulary_words
    if config.task == TEXT_GENERATION:
        return sizes.vocabulary_characters
    dataset = DATASETS.get(config.dataset) if config.task in IMAGE_TASKS else None
    return dataset.classes if dataset else 0
