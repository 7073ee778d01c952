"""Labelled data that accuracy is measured on: packs the user's samples into one file, named by its hash.

A folder with a sub-folder of images for each class, or a .npz file with arrays x and y. The samples are
packed in the random order in which they were chosen, so that the first of them are a random choice too.
"""

import json
import random
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nnlite.artifacts.calibration import CalibrationKind
from nnlite.artifacts.samples import (
    SUFFIXES,
    SamplesError,
    arrays,
    checked_length,
    explained,
    images_below,
    pack_array,
    pack_image,
)

_LABELS_FILE = "labels.json"
_FORMS = "name a folder with a sub-folder of images for each class, or a .npz file with arrays x and y"


@dataclass(frozen=True, kw_only=True)
class EvaluationData:
    """Labelled samples that a campaign's artifacts are evaluated on."""

    kind: CalibrationKind
    #: How many were chosen.
    samples: int
    #: Of the choice.
    seed: int
    #: Name of the user's folder or file; for people.
    name: str
    #: Path of the packed samples in the artifact store, named by their hash.
    path: str


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The classes of packed samples, in their order."""

    labels: tuple[int, ...]
    #: Names of the classes, whose order gives their numbers; None: the labels are the network's numbers.
    classes: tuple[str, ...] | None


def kind_of(source: Path) -> CalibrationKind:
    """Return what labelled data a path names.

    Raises:
        SamplesError: none.
    """
    if source.is_dir():
        return CalibrationKind.IMAGES
    if source.suffix.lower() == ".npz" and source.is_file():
        return CalibrationKind.ARRAYS
    problem = "is no labelled data" if source.exists() else "does not exist"
    raise SamplesError(f"evaluation data {source} {problem}; {_FORMS}")


def pack(source: Path, target: Path, *, samples: int, seed: int) -> int:
    """Choose samples of `source`, write them to `target`, and return how many; equal choices, equal bytes.

    Raises:
        SamplesError: a file cannot be read, or the data have no labels; the message names it.
    """
    kind = kind_of(source)
    with explained("evaluation data", source), zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        write = _pack_images if kind is CalibrationKind.IMAGES else _pack_arrays
        packed = write(source, archive, samples, random.Random(seed))
        archive.writestr(
            zipfile.ZipInfo(_LABELS_FILE), json.dumps({"labels": packed.labels, "classes": packed.classes})
        )
    return len(packed.labels)


def labels(packed: Path) -> Labels:
    """Return the labels of packed samples."""
    with zipfile.ZipFile(packed) as archive:
        stored = json.loads(archive.read(_LABELS_FILE))
    return Labels(labels=tuple(stored["labels"]), classes=stored["classes"] and tuple(stored["classes"]))


def _pack_images(folder: Path, archive: zipfile.ZipFile, samples: int, choice: random.Random) -> Labels:
    images = images_below(folder)
    below = [name for name in images if "/" in name]
    if not below:
        found = (
            "its images are in no sub-folders"
            if images
            else f"it has no images ({', '.join(sorted(SUFFIXES))})"
        )
        raise SamplesError(f"evaluation folder {folder}: {found}; {_FORMS}")
    names = sorted({PurePosixPath(name).parts[0] for name in below})
    numbered = all(name.isascii() and name.isdigit() for name in names)
    numbers = {name: int(name) if numbered else number for number, name in enumerate(names)}
    chosen = choice.sample(below, min(samples, len(below)))
    packed = 0
    for number, name in enumerate(chosen):
        stored = f"{number:06}{PurePosixPath(name).suffix.lower()}"
        packed = pack_image(archive, stored, folder / name, packed)
    return Labels(
        labels=tuple(numbers[PurePosixPath(name).parts[0]] for name in chosen),
        classes=None if numbered else tuple(names),
    )


def _pack_arrays(file: Path, archive: zipfile.ZipFile, samples: int, choice: random.Random) -> Labels:
    named = arrays(file)
    if set(named) != {"x", "y"}:
        raise SamplesError(
            f"evaluation file {file} has the arrays {', '.join(sorted(named))}; it needs x, the samples, "
            "and y, their classes"
        )
    length = checked_length(named, file)
    y = named["y"].reshape(length, -1)
    if y.shape[1] != 1 or y.dtype.kind not in "ui" or y.min() < 0:
        raise SamplesError(
            f"array y of {file} is {named['y'].dtype} {named['y'].shape}; it needs one whole number from 0 "
            "on for each sample, its class"
        )
    chosen = choice.sample(range(length), min(samples, length))
    pack_array(archive, "x", named["x"][chosen])
    return Labels(labels=tuple(int(label) for label in y[chosen, 0]), classes=None)
