"""Calibration samples: pictures, arrays or noise, passed through the model's own transform.

The same calibration gives the same samples on every machine. Runs in the forked child only, because it
decodes untrusted images and executes the transform.
"""

import gzip
import importlib.util
import random
from collections.abc import Iterator, Sequence
from itertools import islice, tee
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nnlite.artifacts.calibration import Calibration, CalibrationKind, has_digits
from nnlite.artifacts.inputs import seeded_input
from nnlite.artifacts.samples import arrays, pictures
from nnlite.catalog.lemur.datasets import DATASETS, ImageDataset
from nnlite.catalog.model import ModelSpec
from nnlite.vocabulary import Layout
from nnlite_conversion.pipeline.loading.transforms import Transform, transform_of
from nnlite_conversion.pipeline.quantizing.data import NoCalibrationData, Sample
from nnlite_conversion.pipeline.verifying.drawn_inputs import integers

#: Smallest and largest value of each input; None for other than integers.
Ranges = Sequence[tuple[int, int] | None]

#: Most bytes of samples, which are kept in memory; there are fewer samples of large inputs.
MAX_BYTES = 256 << 20
#: Distance of the seeds of two inputs of a sample, beyond the number of samples.
_SEED_STEP = 1_000_003
#: Smallest side of a crop, as a share of the photo's shorter side.
_SMALLEST_CROP = 0.4


def load(
    calibration: Calibration,
    packed: Path | None,
    spec: ModelSpec,
    inputs: Sample,
    ranges: Ranges | None = None,
) -> list[Sample]:
    """Return the samples for a model.

    Args:
        calibration: kind, seed and number of the samples.
        packed: the user's data, packed by `nnlite.artifacts.calibration`; None where the kind needs none.
        spec: the model, whose transform is applied.
        inputs: the seeded inputs, for shapes and types.
        ranges: smallest and largest value of each integer input, for noise; None: as the seeded input.

    Raises:
        NoCalibrationData: the data does not fit the model.
        SamplesError: the user's data cannot be read.
    """
    size = sum(tensor.nbytes for tensor in inputs)
    most = max(1, min(calibration.samples, MAX_BYTES // max(size, 1)))
    return list(islice(_samples(calibration, packed, spec, inputs, ranges), most))


def given(kind: CalibrationKind, packed: Path, spec: ModelSpec, inputs: Sample) -> Iterator[Sample]:
    """Yield all samples that a user gave, in their order; arguments and errors as of `load`."""
    return _samples(Calibration(kind=kind), packed, spec, inputs, None)


def _samples(
    calibration: Calibration, packed: Path | None, spec: ModelSpec, inputs: Sample, ranges: Ranges | None
) -> Iterator[Sample]:
    if calibration.kind is CalibrationKind.NOISE:
        return _noise(calibration.seed, inputs, ranges or (None,) * len(inputs))
    if calibration.kind is CalibrationKind.ARRAYS and packed is not None:
        named = arrays(packed)
        first = next(iter(named.values()))
        if len(named) > 1 or first.dtype != np.uint8 or inputs[0].dtype == np.uint8:
            batched = [each.batched for each in spec.inputs] or [True] * len(inputs)
            return _input_arrays(named, inputs, batched)
    images = [each.is_image for each in spec.inputs] or [tensor.ndim == 4 for tensor in inputs]
    channels = [tensor.shape[-1 if spec.layout is Layout.NHWC else 1 :][:1] for tensor in inputs]
    if not all(images) or any(each not in {(1,), (3,)} for each in channels):
        raise NoCalibrationData(f"no calibration data: {_described(inputs)} is no image")
    if calibration.kind is CalibrationKind.ARRAYS:
        chosen: Iterator[Image.Image] = map(_picture, first)
    elif packed is not None:
        chosen = pictures(packed)
    else:
        chosen = _digits(calibration.seed) if has_digits(spec.dataset) else _crops(calibration.seed)
    # Each of several inputs gets the picture after that of the one before.
    of_inputs = [
        _transformed(islice(each, number, None), spec, tensor)
        for number, (each, tensor) in enumerate(zip(tee(chosen, len(inputs)), inputs, strict=True))
    ]
    return zip(*of_inputs, strict=False)


def _noise(seed: int, inputs: Sample, ranges: Ranges) -> Iterator[Sample]:
    number = seed
    while True:
        number += 1  # seed 0 is the seeded input that parity is judged on
        yield tuple(
            integers(tensor, *ends, number + index)
            if ends is not None
            else seeded_input(tensor.shape, tensor.dtype.name, number + _SEED_STEP * index)
            for index, (tensor, ends) in enumerate(zip(inputs, ranges, strict=True))
        )


def _input_arrays(
    named: dict[str, NDArray[Any]], inputs: Sample, batched: Sequence[bool]
) -> Iterator[Sample]:
    """Yield samples from arrays of the network's inputs; images may be (C, H, W) as well."""
    if len(named) != len(inputs):
        raise NoCalibrationData(f"no calibration data: {len(named)} arrays for {len(inputs)} inputs")
    fitted = []
    for (name, array), tensor, has_batch in zip(named.items(), inputs, batched, strict=True):
        shape = tensor.shape[1:] if has_batch else tensor.shape
        if array.shape[1:] != shape and len(shape) == 3 and array.shape[1:] == (shape[2], *shape[:2]):
            array = array.transpose(0, 2, 3, 1)  # noqa: PLW2901
        if array.shape[1:] != shape:
            raise NoCalibrationData(
                f"no calibration data: samples of array {name} are {array.shape[1:]}, the input is {shape}"
            )
        fitted.append(array)
    for sample in zip(*fitted, strict=True):
        yield tuple(
            np.ascontiguousarray(value).reshape(tensor.shape).astype(tensor.dtype)
            for value, tensor in zip(sample, inputs, strict=True)
        )


def _transformed(
    chosen: Iterator[Image.Image], spec: ModelSpec, image: NDArray[Any]
) -> Iterator[NDArray[Any]]:
    """Yield values of one input: pictures of the dataset's mode and size, through the model's transform."""
    nhwc = spec.layout is Layout.NHWC
    channels, height, width = (image.shape[-1], *image.shape[1:3]) if nhwc else image.shape[1:]
    dataset = DATASETS.get(spec.dataset)
    mode = "L" if (dataset.channels if dataset else channels) == 1 else "RGB"
    transform = _transform(spec, dataset)
    for number, original in enumerate(chosen):
        picture = original.convert(mode)
        if dataset and dataset.size:
            picture = ImageOps.fit(picture, dataset.size, Image.Resampling.BILINEAR)
        tensor = _applied(transform, picture, number)
        if tensor.shape != (channels, height, width):
            # The transform does not resize, so the picture must have the input's size.
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
            tensor = _applied(transform, picture, number)
        if tensor.shape != (channels, height, width):
            raise NoCalibrationData(
                f"no calibration data: transform {spec.transform} gives {tuple(tensor.shape)} (C, H, W), "
                f"the input is {(channels, height, width)}"
            )
        image_like = tensor.transpose(1, 2, 0) if nhwc else tensor
        yield np.ascontiguousarray(image_like[np.newaxis]).astype(image.dtype)


def _transform(spec: ModelSpec, dataset: ImageDataset | None) -> Transform:
    if spec.transform_code is None:
        return _plain
    norm = (dataset.mean, dataset.deviation) if dataset else ((0.5,) * 3, (0.5,) * 3)
    return transform_of(spec.transform_code, str(spec.transform), dataset, norm)


def _plain(picture: Image.Image) -> torch.Tensor:
    """Return a picture as a tensor in [-1, 1], the range of the seeded input."""
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    return torch.from_numpy(pixels.reshape(picture.height, picture.width, -1).transpose(2, 0, 1))


def _applied(transform: Transform, picture: Image.Image, number: int) -> NDArray[Any]:
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
    """Return scikit-learn's digits, (N, 8, 8) with values from 0 to 16, and their labels."""
    # Its files are read directly: importing scikit-learn would cost each worker a second and 80 MB.
    with gzip.open(_sklearn_file("data", "digits.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return rows[:, :64].reshape(-1, 8, 8), rows[:, 64].astype(np.int64)


def _digits(seed: int) -> Iterator[Image.Image]:
    """Yield the digits in a seeded order, white on black like MNIST's."""
    pixels, _ = digits()
    for number in np.random.default_rng(seed).permutation(len(pixels)):
        yield Image.fromarray(np.clip(pixels[number] * 16, 0, 255).astype(np.uint8))


def _crops(seed: int) -> Iterator[Image.Image]:
    """Yield crops of scikit-learn's two photos, of seeded places, sizes and flips."""
    files = [_sklearn_file("images", f"{name}.jpg") for name in ("china", "flower")]
    photos = [Image.open(file).convert("RGB") for file in files]
    chance = np.random.default_rng(seed)
    while True:
        photo = photos[chance.integers(len(photos))]
        side = int(min(photo.size) * chance.uniform(_SMALLEST_CROP, 1))
        left, top = (int(chance.integers(length - side + 1)) for length in photo.size)
        crop = photo.crop((left, top, left + side, top + side))
        yield ImageOps.mirror(crop) if chance.integers(2) else crop


def _sklearn_file(*names: str) -> Path:
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise NoCalibrationData(
            "no calibration data: scikit-learn is missing; install the extra `convert` on this worker"
        )
    return Path(package.origin).parent.joinpath("datasets", *names)


def _described(inputs: Sample) -> str:
    return ", ".join(f"{tensor.dtype} {tensor.shape}" for tensor in inputs)
