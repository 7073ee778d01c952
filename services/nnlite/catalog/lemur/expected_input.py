"""What task, dataset and transform say of a model's input: its shape, or why there is none."""

from collections.abc import Mapping
from typing import NamedTuple

from nnlite.catalog.lemur.configuration import TrainingConfig
from nnlite.catalog.lemur.datasets import DATASETS
from nnlite.catalog.lemur.shapes import InputShape, NoShape, committed_table

#: Tasks whose networks take one image and nothing else.
IMAGE_TASKS = frozenset({"img-classification", "img-segmentation"})

#: Why the others are left out.
TASK_REASONS = {
    "obj-detection": "takes a list of images and gives a list of boxes",
    "img-captioning": "takes a caption beside the image, and its vocabulary is not part of LEMUR",
    "txt-image": "takes text, and its vocabulary is not part of LEMUR",
    "txt-generation": "takes text, and its vocabulary is not part of LEMUR",
}


class ExpectedInput(NamedTuple):
    """The input of a model: its shape, why it is left out, or neither: only the conversion child can tell."""

    shape: InputShape | None
    skipped: str | None


class ExpectedInputs:
    """The look-up, which keeps what it found.

    Args:
        transforms: SHA-256 of each transform's code by name, or its first digits.
        variable_size: height and width where neither dataset nor transform fixes them, pixels.
    """

    def __init__(self, transforms: Mapping[str, str], variable_size: int) -> None:
        self.transforms = transforms
        self._variable_size = variable_size
        self._known: dict[TrainingConfig, ExpectedInput] = {}

    def of(self, setting: TrainingConfig) -> ExpectedInput:
        """Return the input of a model that is trained for `setting`."""
        if setting not in self._known:
            self._known[setting] = self._find(setting)
        return self._known[setting]

    def _find(self, setting: TrainingConfig) -> ExpectedInput:
        if setting.task not in IMAGE_TASKS:
            why = TASK_REASONS.get(setting.task, "its input cannot be told from its training")
            return ExpectedInput(None, f"task {setting.task}: {why}")
        if setting.dataset not in DATASETS:
            reason = f"unknown dataset: classes and image size of {setting.dataset} are not known"
            return ExpectedInput(None, reason)
        if setting.transform not in self.transforms:
            reason = f"transform missing: {setting.transform}.py is not in this copy of LEMUR"
            return ExpectedInput(None, reason)
        digits = self.transforms[setting.transform]
        found = committed_table().look_up(digits, setting.dataset, self._variable_size)
        if isinstance(found, NoShape):
            return ExpectedInput(None, f"{found.reason} (transform {setting.transform})")
        return ExpectedInput(found, None)


def classes_of(setting: TrainingConfig) -> int:
    """Return the number of outputs, per pixel for segmentation; 0 where it is not known."""
    dataset = DATASETS.get(setting.dataset) if setting.task in IMAGE_TASKS else None
    return dataset.classes if dataset else 0
