"""Calibration data of int8: packs the user's samples into one file, identified by its content hash.

The submitting process chooses and packs the samples, so that workers on other
machines find them in the artifact store and the cache identifies them by content.
Images stay encoded.
"""

import random
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from nnlite.artifacts.samples import (
    ARRAY_SUFFIXES,
    SUFFIXES,
    SamplesError,
    arrays,
    checked_length,
    explained,
    images_below,
    pack_array,
    pack_image,
)

#: Data sets of digits, for which scikit-learn has similar images.
_DIGITS = frozenset({"mnist", "svhn"})


class CalibrationKind(StrEnum):
    """Source of the samples."""

    SKLEARN = "sklearn"  # digits and photos of scikit-learn
    NOISE = "noise"  # only on request
    IMAGES = "images"  # of the user
    ARRAYS = "arrays"  # of the user: images (uint8), or the network's inputs


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The calibration samples of int8; parity is judged on them besides the seeded input."""

    kind: CalibrationKind
    samples: int = 128
    seed: int = 0
    #: Name of the user's folder or file; for people.
    name: str | None = None
    #: Path of the packed samples in the artifact store, named by their hash; None: no user data.
    path: str | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Calibration":
        """Return the calibration that `as_dict` serialized."""
        return cls(**{**fields, "kind": CalibrationKind(fields["kind"])})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def key(self) -> dict[str, Any]:
        """Return the fields that identify a calibration in cache keys."""
        return {name: value for name, value in self.as_dict().items() if name != "name"}

    def provenance(self, dataset: str) -> str:
        """Return a description of the samples with which a model of `dataset` is calibrated."""
        match self.kind:
            case CalibrationKind.SKLEARN:
                return f"sklearn-{'digits' if has_digits(dataset) else 'photos'}, not representative"
            case CalibrationKind.NOISE:
                return "random noise, not representative"
            case _:
                return f"{self.kind} of {self.name}"


def has_digits(dataset: str) -> bool:
    """Return whether the images of `dataset` are digits."""
    return dataset in _DIGITS


def named(name: str | None, *, samples: int, seed: int) -> tuple[Calibration, Path | None]:
    """Return the calibration that `name` selects, and the folder or file to be packed for it.

    Args:
        name: None, `sklearn`, `noise`, or a path; `./noise` is a folder.

    Raises:
        SamplesError: the path does not exist, or is neither a folder nor an array file.
    """
    if name is None or name in {CalibrationKind.SKLEARN, CalibrationKind.NOISE}:
        kind = CalibrationKind(name or CalibrationKind.SKLEARN)
        return Calibration(kind=kind, samples=samples, seed=seed), None
    path = Path(name).expanduser()
    if path.is_dir():
        kind = CalibrationKind.IMAGES
    elif path.suffix.lower() in ARRAY_SUFFIXES and path.is_file():
        kind = CalibrationKind.ARRAYS
    else:
        what = "is neither a folder of images nor a .npy or .npz file" if path.exists() else "does not exist"
        raise SamplesError(f"calibration data {name} {what}; name one, or sklearn, or noise")
    return Calibration(kind=kind, samples=samples, seed=seed, name=path.resolve().name), path


def pack(calibration: Calibration, source: Path, target: Path) -> None:
    """Choose samples of `source` and write them to `target`; the same choice gives the same bytes.

    Raises:
        SamplesError: a file cannot be read or decoded, or is too large; the message names it.
    """
    with explained("calibration data", source):
        if calibration.kind is CalibrationKind.IMAGES:
            _pack_images(calibration, source, target)
        else:
            _pack_arrays(calibration, source, target)


def _pack_images(calibration: Calibration, folder: Path, target: Path) -> None:
    images = images_below(folder)
    if not images:
        raise SamplesError(
            f"calibration folder {folder} has no images ({', '.join(sorted(SUFFIXES))}); name another one"
        )
    chosen = random.Random(calibration.seed).sample(images, min(calibration.samples, len(images)))
    packed = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(chosen):
            packed = pack_image(archive, name, folder / name, packed)


def _pack_arrays(calibration: Calibration, file: Path, target: Path) -> None:
    loaded = arrays(file)
    length = checked_length(loaded, file)
    chosen = sorted(random.Random(calibration.seed).sample(range(length), min(calibration.samples, length)))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in loaded.items():
            pack_array(archive, name, array[chosen])
