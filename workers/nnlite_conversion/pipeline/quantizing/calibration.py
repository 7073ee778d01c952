"""What the conversion child calibrates on: samples through the model's own transform.

The same calibration gives the same samples on every machine. Runs in the forked
child only: it decodes images that nobody has checked and executes the transform.
"""

import gzip
import importlib.util
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nnlite.artifacts.calibration import Calibration, CalibrationKind, arrays, has_digits, pictures
from nnlite.artifacts.inputs import seeded_input
from nnlite.catalog.lemur.datasets import DATASETS, ImageDataset
from nnlite.catalog.model import ModelSpec
from nnlite.vocabulary import Layout
from nnlite_conversion.pipeline.quantizing.quantization import NoCalibrationData

#: One value for each input of the artifact, in their order.
Sample = tuple[NDArray[Any], ...]

#: Samples are kept in memory; of large ones there are fewer.
MAX_BYTES = 256 << 20
#: A crop of a photo has at least this share of its shorter side.
_SMALLEST_CROP = 0.4


def load(calibration: Calibration, packed: Path | None, spec: ModelSpec, inputs: Sample) -> list[Sample]:
    """Return the samples for a model.

    Args:
        packed: the user's data, packed by `nnlite.artifacts.calibration`; None where the kind needs none.
        inputs: the seeded inputs, which say shapes and types.

    Raises:
        NoCalibrationData: what there is does not fit the model.
        CalibrationError: the user's data cannot be read.
    """
    size = sum(tensor.nbytes for tensor in inputs)
    most = max(1, min(calibration.samples, MAX_BYTES // max(size, 1)))
    return list(islice(_samples(calibration, packed, spec, inputs), most))


def _samples(
    calibration: Calibration, packed: Path | None, spec: ModelSpec, inputs: Sample
) -> Iterator[Sample]:
    if calibration.kind is CalibrationKind.NOISE:
        return _noise(calibration.seed, inputs)
    if calibration.kind is CalibrationKind.ARRAYS and packed is not None:
        found = arrays(packed)
        first = next(iter(found.values()))
        if len(found) > 1 or first.dtype != np.uint8 or inputs[0].dtype == np.uint8:
            return _fitting(found, inputs)
    shape = inputs[0].shape
    channels = shape[-1 if spec.layout is Layout.NHWC else 1] if len(shape) == 4 else 0
    if len(inputs) > 1 or channels not in {1, 3}:
        raise NoCalibrationData(f"no calibration data: {_words(inputs)} is no image")
    if calibration.kind is CalibrationKind.ARRAYS:
        chosen: Iterator[Image.Image] = map(_picture, first)
    elif packed is not None:
        chosen = pictures(packed)
    else:
        chosen = _digits(calibration.seed) if has_digits(spec.dataset) else _crops(calibration.seed)
    return _transformed(chosen, spec, inputs[0])


def _noise(seed: int, inputs: Sample) -> Iterator[Sample]:
    number = seed
    while True:
        number += 1  # seed 0 is the input that parity is judged on
        yield tuple(seeded_input(tensor.shape, tensor.dtype.name, number) for tensor in inputs)


def _fitting(found: dict[str, NDArray[Any]], inputs: Sample) -> Iterator[Sample]:
    """Yield samples of the network's own inputs; images may be (C, H, W) as well."""
    if len(found) != len(inputs):
        raise NoCalibrationData(f"no calibration data: {len(found)} arrays for {len(inputs)} inputs")
    fitted = []
    for (name, array), tensor in zip(found.items(), inputs, strict=True):
        shape = tensor.shape[1:]
        if array.shape[1:] != shape and len(shape) == 3 and array.shape[1:] == (shape[2], *shape[:2]):
            array = array.transpose(0, 2, 3, 1)  # noqa: PLW2901
        if array.shape[1:] != shape:
            raise NoCalibrationData(
                f"no calibration data: samples of array {name} are {array.shape[1:]}, the input is {shape}"
            )
        fitted.append(array)
    for sample in zip(*fitted, strict=True):
        yield tuple(
            np.ascontiguousarray(value[np.newaxis]).astype(tensor.dtype)
            for value, tensor in zip(sample, inputs, strict=True)
        )


def _transformed(chosen: Iterator[Image.Image], spec: ModelSpec, image: NDArray[Any]) -> Iterator[Sample]:
    """Yield what the model's transform makes of pictures like those of its dataset."""
    nhwc = spec.layout is Layout.NHWC
    channels, height, width = (image.shape[-1], *image.shape[1:3]) if nhwc else image.shape[1:]
    dataset = DATASETS.get(spec.dataset)
    mode = "L" if (dataset.channels if dataset else channels) == 1 else "RGB"
    transform = _transform(spec, dataset)
    for number, found in enumerate(chosen):
        picture = found.convert(mode)
        if dataset and dataset.size:
            picture = ImageOps.fit(picture, dataset.size, Image.Resampling.BILINEAR)
        tensor = _applied(transform, picture, number)
        if tensor.shape != (channels, height, width):
            # It does not resize: the picture has to have the input's own size.
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
            tensor = _applied(transform, picture, number)
        if tensor.shape != (channels, height, width):
            raise NoCalibrationData(
                f"no calibration data: transform {spec.transform} gives {tuple(tensor.shape)} (C, H, W), "
                f"the input is {(channels, height, width)}"
            )
        taken = tensor.transpose(1, 2, 0) if nhwc else tensor
        yield (np.ascontiguousarray(taken[np.newaxis]).astype(image.dtype),)


def _transform(spec: ModelSpec, dataset: ImageDataset | None) -> Callable[[Image.Image], Any]:
    if spec.transform_code is None:
        return _plain
    norm = (dataset.mean, dataset.deviation) if dataset else ((0.5,) * 3, (0.5,) * 3)
    namespace: dict[str, Any] = {"__name__": f"transform {spec.transform}"}
    exec(compile(spec.transform_code, f"{spec.transform}.py", "exec"), namespace)  # noqa: S102 (in the child)
    transform: Callable[[Image.Image], Any] = namespace["transform"](norm)
    return transform


def _plain(picture: Image.Image) -> torch.Tensor:
    """Return a picture in [-1, 1], the range of the seeded input."""
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    return torch.from_numpy(pixels.reshape(picture.height, picture.width, -1).transpose(2, 0, 1))


def _applied(transform: Callable[[Image.Image], Any], picture: Image.Image, number: int) -> NDArray[Any]:
    random.seed(number)
    torch.manual_seed(number)
    values: NDArray[Any] = np.asarray(transform(picture))
    return values


def _picture(pixels: NDArray[Any]) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[0] in {1, 3} and pixels.shape[2] not in {1, 3}:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and pixels.shape[2:] != (3,):
        raise NoCalibrationData(f"no calibration data: an array of shape {pixels.shape} is no picture")
    return Image.fromarray(np.ascontiguousarray(pixels))


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return scikit-learn's digits, (N, 8, 8) from 0 to 16, and what they are."""
    # Its files are read as they are: importing scikit-learn would cost each worker a second and 80 MB.
    with gzip.open(_of_sklearn("data", "digits.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return rows[:, :64].reshape(-1, 8, 8), rows[:, 64].astype(np.int64)


def _digits(seed: int) -> Iterator[Image.Image]:
    """Yield the digits in a seeded order, white on black as MNIST's."""
    found, _ = digits()
    for number in np.random.default_rng(seed).permutation(len(found)):
        yield Image.fromarray(np.clip(found[number] * 16, 0, 255).astype(np.uint8))


def _crops(seed: int) -> Iterator[Image.Image]:
    """Yield crops of scikit-learn's two photos: places, sizes and flips are seeded."""
    photos = [Image.open(_of_sklearn("images", f"{name}.jpg")).convert("RGB") for name in ("china", "flower")]
    chance = np.random.default_rng(seed)
    while True:
        photo = photos[chance.integers(len(photos))]
        side = int(min(photo.size) * chance.uniform(_SMALLEST_CROP, 1))
        left, top = (int(chance.integers(length - side + 1)) for length in photo.size)
        crop = photo.crop((left, top, left + side, top + side))
        yield ImageOps.mirror(crop) if chance.integers(2) else crop


def _of_sklearn(*names: str) -> Path:
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise NoCalibrationData("no calibration data: scikit-learn is missing; pip install 'nnlite[convert]'")
    return Path(found.origin).parent.joinpath("datasets", *names)


def _words(inputs: Sample) -> str:
    return ", ".join(f"{tensor.dtype} {tensor.shape}" for tensor in inputs)
