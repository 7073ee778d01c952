"""Expected input of a model, from its task, dataset and transform: its shape, or why there is none."""

from collections.abc import Mapping
from typing import NamedTuple

from nnlite.catalog.lemur.configuration import TrainingConfig
from nnlite.catalog.lemur.datasets import DATASETS
from nnlite.catalog.lemur.shapes import InputShape, NoShape, committed_table

#: Tasks whose networks take one image and nothing else.
IMAGE_TASKS = frozenset({"img-classification", "img-segmentation"})

#: Why models of other tasks are skipped.
TASK_REASONS = {
    "obj-detection": "takes a list of images and gives a list of boxes",
    "img-captioning": "takes a caption with the image, and its vocabulary is not part of LEMUR",
    "txt-image": "takes text, and its vocabulary is not part of LEMUR",
    "txt-generation": "takes text, and its vocabulary is not part of LEMUR",
}


class ExpectedInput(NamedTuple):
    """The input of a model: its shape, why it is skipped, or neither (only the conversion child can tell)."""

    shape: InputShape | None
    skipped: str | None


class ExpectedInputs:
    """Looks expected inputs up and caches them.

    Args:
        transforms: SHA-256 of each transform's code by name, or its first digits.
        variable_size: height and width where neither dataset nor transform fixes them, pixels.
    """

    def __init__(self, transforms: Mapping[str, str], variable_size: int) -> None:
        self.transforms = transforms
        self._variable_size = variable_size
        self._known: dict[TrainingConfig, ExpectedInput] = {}

    def of(self, config: TrainingConfig) -> ExpectedInput:
        """Return the input of a model with this training config."""
        if config not in self._known:
            self._known[config] = self._find(config)
        return self._known[config]

    def _find(self, config: TrainingConfig) -> ExpectedInput:
        if config.task not in IMAGE_TASKS:
            reason = TASK_REASONS.get(config.task, "its input cannot be derived from its training records")
            return ExpectedInput(None, f"task {config.task}: {reason}")
        if config.dataset not in DATASETS:
            reason = f"unknown dataset: classes and image size of {config.dataset} are not known"
            return ExpectedInput(None, reason)
        if config.transform not in self.transforms:
            reason = f"transform missing: {config.transform}.py is not in this copy of LEMUR"
            return ExpectedInput(None, reason)
        digits = self.transforms[config.transform]
        expected = committed_table().look_up(digits, config.dataset, self._variable_size)
        if isinstance(expected, NoShape):
            return ExpectedInput(None, f"{expected.reason} (transform {config.transform})")
        return ExpectedInput(expected, None)


def classes_of(config: TrainingConfig) -> int:
    """Return the number of outputs, per pixel for segmentation; 0 where it is not known."""
    dataset = DATASETS.get(config.dataset) if config.task in IMAGE_TASKS else None
    return dataset.classes if dataset else 0
