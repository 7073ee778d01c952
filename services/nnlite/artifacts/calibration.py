"""Calibration data of int8: packs the user's samples into one file, identified by its content hash.

The submitting process chooses and packs the samples, so that workers on other
machines find them in the artifact store and the cache identifies them by content.
Images stay encoded. Everything here is untrusted: nothing is unpickled, and sizes
are checked before anything is decoded.
"""

import io
import os
import random
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlite.errors import UsageError

# Imported late: NumPy starts threads on import, which a conversion worker must prevent first.
if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

#: The formats that Pillow may decode; the decoders of others are not worth their risk.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm"})
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
MAX_PIXELS = 50_000_000
MAX_BYTES = 512 << 20

#: Data sets of digits, for which scikit-learn has similar images.
_DIGITS = frozenset({"mnist", "svhn"})


class CalibrationError(UsageError):
    """Calibration data cannot be used; the message names the file and has a hint."""


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
        samples: number of samples.
        seed: of their choice.

    Raises:
        CalibrationError: the path does not exist, or is neither a folder nor an array file.
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
        raise CalibrationError(f"calibration data {name} {what}; name one, or sklearn, or noise")
    return Calibration(kind=kind, samples=samples, seed=seed, name=path.resolve().name), path


def pack(calibration: Calibration, source: Path, target: Path) -> None:
    """Choose samples of `source` and write them to `target`; the same choice gives the same bytes.

    Raises:
        CalibrationError: a file cannot be read or decoded, or is too large; the message names it.
    """
    with _explained(source):
        if calibration.kind is CalibrationKind.IMAGES:
            _pack_images(calibration, source, target)
        else:
            _pack_arrays(calibration, source, target)


def pictures(packed: Path) -> Iterator["Image"]:
    """Yield the images of a packed folder, decoded.

    Raises:
        CalibrationError: an image cannot be decoded; the message names it.
    """
    with _explained(packed), zipfile.ZipFile(packed) as archive:
        for member in archive.infolist():
            if member.file_size > MAX_BYTES:
                raise CalibrationError(f"image {member.filename} is larger than {MAX_BYTES >> 20} MiB")
            yield decoded(member.filename, archive.read(member))


def decoded(name: str, raw: bytes) -> "Image":
    """Decode an image, after its header's size was checked.

    Raises:
        CalibrationError: not an image, broken or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(raw), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise _too_large(name, f"{width} x {height}")
        image.load()
    except Image.DecompressionBombError as error:
        raise _too_large(name, "too many") from error
    except UnidentifiedImageError as error:
        raise CalibrationError(
            f"image {name} is none of {', '.join(FORMATS)}; remove it from the folder"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise CalibrationError(f"image {name} is broken: {error}; remove it from the folder") from error
    return image


def arrays(file: Path) -> "dict[str, NDArray[Any]]":
    """Return the arrays of a .npy or .npz file: one for each input, with samples as first dimension.

    Raises:
        CalibrationError: not such a file, or it has objects, or it is too large.
    """
    import numpy as np

    with _explained(file):
        if not zipfile.is_zipfile(file):
            with file.open("rb") as stream:
                _check_header(file.name, stream)
            return {"input": np.load(file, allow_pickle=False)}
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            total = 0
            for name in names:
                with archive.open(name) as stream:
                    total += _check_header(f"{name} of {file.name}", stream)
            if not names or total > MAX_BYTES:
                what = f"has {total >> 20} MiB, at most {MAX_BYTES >> 20} are read" if names else "is empty"
                raise CalibrationError(f"calibration file {file.name} {what}")
        with np.load(file, allow_pickle=False) as loaded:
            return {name.removesuffix(".npy"): loaded[name.removesuffix(".npy")] for name in names}


def _too_large(name: str, pixels: str) -> CalibrationError:
    return CalibrationError(
        f"image {name} has {pixels} pixels, more than {MAX_PIXELS:,}; remove it from the folder"
    )


def _pack_images(calibration: Calibration, folder: Path, target: Path) -> None:
    images = sorted(
        Path(above, name).relative_to(folder).as_posix()
        for above, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    )
    if not images:
        raise CalibrationError(
            f"calibration folder {folder} has no images ({', '.join(sorted(SUFFIXES))}); name another one"
        )
    chosen = random.Random(calibration.seed).sample(images, min(calibration.samples, len(images)))
    total = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(chosen):
            total += (folder / name).stat().st_size
            if total > MAX_BYTES:
                raise CalibrationError(
                    f"{len(chosen)} images of {folder} have over {MAX_BYTES >> 20} MiB; make them smaller"
                )
            raw = (folder / name).read_bytes()
            _check_decodable(str(folder / name), raw)
            # ZipInfo's fixed date (1980) makes equal choices equal bytes.
            archive.writestr(zipfile.ZipInfo(name), raw)


def _pack_arrays(calibration: Calibration, file: Path, target: Path) -> None:
    import numpy as np

    loaded = arrays(file)
    lengths = {len(array) if array.ndim else 0 for array in loaded.values()}
    if len(lengths) > 1 or not min(lengths):
        raise CalibrationError(
            f"arrays of {file} have {', '.join(map(str, sorted(lengths)))} samples; "
            "each needs as many along its first dimension, and at least one"
        )
    for name, array in loaded.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            first = int(np.argwhere(~np.isfinite(array))[0][0])
            raise CalibrationError(
                f"array {name} of {file} has NaN or infinite values, the first in sample {first}; remove them"
            )
    (length,) = lengths
    chosen = sorted(random.Random(calibration.seed).sample(range(length), min(calibration.samples, length)))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in loaded.items():
            raw = io.BytesIO()
            np.lib.format.write_array(raw, array[chosen], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), raw.getvalue())


def _check_decodable(name: str, raw: bytes) -> None:
    """Decode an image if Pillow is installed, so that a broken one is reported before any conversion."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        return
    decoded(name, raw)


def _check_header(name: str, stream: Any) -> int:
    """Return the size in bytes of an array in .npy format, from its header only."""
    import numpy as np

    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in "uifb":
        raise CalibrationError(f"calibration array {name} is of {dtype}; numbers are read, nothing else")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > MAX_BYTES:
        raise CalibrationError(
            f"calibration array {name} has {size >> 20} MiB, at most {MAX_BYTES >> 20} are read; save fewer"
        )
    return size


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CalibrationError(f"calibration data {source}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, CalibrationError):
            raise
        raise CalibrationError(f"calibration data {source} cannot be read: {error}") from error
