"""Pictures and arrays of users: read and checked, for calibration and evaluation.

Everything here is untrusted: nothing is unpickled, and sizes are checked before anything is decoded.
"""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
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


class SamplesError(UsageError):
    """Pictures or arrays cannot be used; the message names the file and has a hint."""


def images_below(folder: Path) -> list[str]:
    """Return the paths of all images below a folder, relative to it and sorted."""
    return sorted(
        Path(above, name).relative_to(folder).as_posix()
        for above, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    )


def pack_image(archive: zipfile.ZipFile, name: str, file: Path, packed: int) -> int:
    """Add an image to an archive that has `packed` bytes, as it is, and return how many it has then.

    Raises:
        SamplesError: it is no image, broken or too large, or the archive would be too large.
    """
    packed += file.stat().st_size
    if packed > MAX_BYTES:
        raise SamplesError(f"the images of {file.parent} have over {MAX_BYTES >> 20} MiB; make them smaller")
    raw = file.read_bytes()
    check_decodable(str(file), raw)
    # ZipInfo's fixed date (1980) makes equal choices equal bytes.
    archive.writestr(zipfile.ZipInfo(name), raw)
    return packed


def pack_array(archive: zipfile.ZipFile, name: str, array: "NDArray[Any]") -> None:
    """Add an array to an archive that NumPy reads."""
    import numpy as np

    raw = io.BytesIO()
    np.lib.format.write_array(raw, array, allow_pickle=False)
    archive.writestr(zipfile.ZipInfo(f"{name}.npy"), raw.getvalue())


def checked_length(named: "dict[str, NDArray[Any]]", file: Path) -> int:
    """Return how many samples the arrays of a file have.

    Raises:
        SamplesError: they have none, not equally many, or values that are not finite.
    """
    import numpy as np

    lengths = {len(array) if array.ndim else 0 for array in named.values()}
    if len(lengths) > 1 or not min(lengths):
        raise SamplesError(
            f"arrays of {file} have {', '.join(map(str, sorted(lengths)))} samples; "
            "each needs as many along its first dimension, and at least one"
        )
    for name, array in named.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            first = int(np.argwhere(~np.isfinite(array))[0][0])
            raise SamplesError(
                f"array {name} of {file} has NaN or infinite values, the first in sample {first}; remove them"
            )
    return lengths.pop()


def pictures(packed: Path) -> Iterator["Image"]:
    """Yield the images of a packed folder, decoded.

    Raises:
        SamplesError: an image cannot be decoded; the message names it.
    """
    with explained("data", packed), zipfile.ZipFile(packed) as archive:
        for member in archive.infolist():
            if Path(member.filename).suffix.lower() not in SUFFIXES:
                continue
            if member.file_size > MAX_BYTES:
                raise SamplesError(f"image {member.filename} is larger than {MAX_BYTES >> 20} MiB")
            yield decoded(member.filename, archive.read(member))


def decoded(name: str, raw: bytes) -> "Image":
    """Decode an image, after its header's size was checked.

    Raises:
        SamplesError: not an image, broken or too large.
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
        raise SamplesError(
            f"image {name} is none of {', '.join(FORMATS)}; remove it from the folder"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise SamplesError(f"image {name} is broken: {error}; remove it from the folder") from error
    return image


def arrays(file: Path) -> "dict[str, NDArray[Any]]":
    """Return the arrays of a .npy or .npz file: one for each input, with samples as first dimension.

    Raises:
        SamplesError: not such a file, or it has objects, or it is too large.
    """
    import numpy as np

    with explained("data", file):
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
                raise SamplesError(f"file {file.name} {what}")
        with np.load(file, allow_pickle=False) as loaded:
            return {name.removesuffix(".npy"): loaded[name.removesuffix(".npy")] for name in names}


def _too_large(name: str, pixels: str) -> SamplesError:
    return SamplesError(
        f"image {name} has {pixels} pixels, more than {MAX_PIXELS:,}; remove it from the folder"
    )


def check_decodable(name: str, raw: bytes) -> None:
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
        raise SamplesError(f"array {name} is of {dtype}; numbers are read, nothing else")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > MAX_BYTES:
        raise SamplesError(
            f"array {name} has {size >> 20} MiB, at most {MAX_BYTES >> 20} are read; save fewer"
        )
    return size


@contextmanager
def explained(what: str, source: Path) -> Iterator[None]:
    """Raise a SamplesError that names `what` and its file or folder for every error of reading it."""
    try:
        yield
    except OSError as error:
        raise SamplesError(f"{what} {source}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, SamplesError):
            raise
        raise SamplesError(f"{what} {source} cannot be read: {error}") from error
