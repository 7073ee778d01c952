"""Labelled samples as devices run them: inputs of a network, after its transform, and what is right.

The child of a conversion writes them, where alone the transform of a model may run: they are untrusted.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlite.artifacts.samples import SamplesError, arrays, pack_array

_LABELS, _RIGHT, _INPUT = "labels", "right", "input_"


@dataclass(frozen=True, kw_only=True)
class DeviceSamples:
    """Samples in the order in which they were chosen."""

    #: For each input of the network, in its order: (samples, *shape).
    inputs: tuple[NDArray[Any], ...]
    labels: tuple[int, ...]
    #: Whether PyTorch classifies each right; None: a pre-built file has no network.
    right: tuple[bool, ...] | None


@dataclass(kw_only=True)
class SampleKeeper:
    """Keeps the first samples of an evaluation, as many as `max_bytes` hold."""

    max_bytes: int
    _samples: list[tuple[Sequence[NDArray[Any]], int]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, sample: Sequence[NDArray[Any]], label: int) -> None:
        """Keep the next sample, unless it is beyond the limit or a sample before it was."""
        self._bytes += sum(value.nbytes for value in sample)
        if self._bytes <= self.max_bytes:
            self._samples.append((sample, label))

    def write(self, file: Path, right: Sequence[bool] | None) -> None:
        """Write what was kept; `right` is PyTorch's for all samples. Equal samples, equal bytes."""
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            pack_array(archive, _LABELS, np.array([label for _, label in self._samples], np.int64))
            if right is not None:
                pack_array(archive, _RIGHT, np.array(right[: len(self._samples)], np.uint8))
            for number, values in enumerate(zip(*(sample for sample, _ in self._samples), strict=True)):
                pack_array(archive, f"{_INPUT}{number}", np.stack(values))


def read_device_samples(file: Path) -> DeviceSamples:
    """Read samples that a conversion kept.

    Raises:
        SamplesError: the file is no such samples, or there are none.
    """
    named = arrays(file)
    labels, right = named.pop(_LABELS, None), named.pop(_RIGHT, None)
    inputs = [named.get(f"{_INPUT}{number}") for number in range(len(named))]
    lengths = {0 if each is None or not each.ndim else len(each) for each in (labels, *inputs)}
    if right is not None:
        lengths.add(right.size)
    if labels is None or not _are_labels(labels) or not inputs or len(lengths) > 1 or 0 in lengths:
        raise SamplesError(f"{file.name} has no samples for devices; submit the campaign again")
    return DeviceSamples(
        inputs=tuple(each for each in inputs if each is not None),
        labels=tuple(map(int, labels)),
        right=None if right is None else tuple(map(bool, right.reshape(-1))),
    )


def _are_labels(array: NDArray[Any]) -> bool:
    return array.ndim == 1 and array.dtype.kind == "i" and bool(array.min(initial=0) >= 0)
