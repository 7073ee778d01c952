"""Calibration samples: reproducible, passed through the model's transform, refused where they do not fit."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import ModelSpec
from nnlite.vocabulary import Layout
from nnlite_conversion.pipeline.quantizing.calibration import load
from nnlite_conversion.pipeline.quantizing.data import NoCalibrationData

NORMALIZING = """
import torchvision.transforms as transforms

def transform(norm):
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize(*norm)])
"""


VECTOR = "import torch\ndef transform(norm):\n    return lambda picture: torch.ones(2)"


def samples(
    kind=CalibrationKind.SKLEARN,
    packed=None,
    *,
    shape=(1, 32, 32, 3),
    dtype="float32",
    count=4,
    seed=0,
    **spec,
):
    model = ModelSpec(**{
        "name": "m", "code": "", "transform_code": None, "transform": None, "task": "img-classification",
        "dataset": "cifar-10", "hyperparameters": {}, "input_shape": None, "input_dtype": dtype,
        "classes": 10, "weights": "init:seed=0", **spec,
    })  # fmt: skip
    calibration = Calibration(kind=kind, samples=count, seed=seed)
    return [sample[0] for sample in load(calibration, packed, model, (np.zeros(shape, dtype),))]


def of_inputs(kind, *tensors, ranges=None):
    """Return samples of a network with several inputs."""
    model = ModelSpec(
        name="m", code="", transform_code=None, transform=None, task="", dataset="cifar-10",
        hyperparameters={}, input_shape=None, input_dtype="float32", classes=10, weights="init:seed=0",
    )  # fmt: skip
    return load(Calibration(kind=kind, samples=4), None, model, tensors, ranges)


def test_samples_are_reproducible_and_differ_from_each_other():
    first, again, other = samples(), samples(), samples(seed=1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first[0], first[1])
    assert {(sample.shape, str(sample.dtype)) for sample in first} == {((1, 32, 32, 3), "float32")}


def test_samples_pass_through_the_transform_with_the_mean_and_deviation_of_the_dataset():
    plain = np.array(samples(count=64))
    normalized = np.array(samples(count=64, transform="norm", transform_code=NORMALIZING))
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    np.testing.assert_allclose(normalized, ((plain + 1) / 2 - mean) / deviation, atol=1e-5)
    assert abs(normalized.mean()) < 1.5


def test_mnist_network_gets_grey_digits():
    digits = np.array(samples(shape=(1, 28, 28, 1), dataset="mnist", count=32))
    assert digits.shape == (32, 1, 28, 28, 1)
    assert digits[:, :, :, :3].mean() < -0.9 < digits.mean(), "white on black, with a black edge"


def test_transform_that_does_not_resize_gets_pictures_of_the_input_size():
    odd = samples(shape=(1, 40, 24, 3), transform="norm", transform_code=NORMALIZING, dataset="imagenette")
    assert odd[0].shape == (1, 40, 24, 3)


def test_channels_first_network_gets_channels_first_samples():
    first = samples(shape=(1, 3, 32, 32), layout=Layout.AS_IS)[0]
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), samples()[0])


def test_user_pictures_of_any_mode_and_size_are_used(tmp_path):
    with zipfile.ZipFile(tmp_path / "packed", "w") as archive:
        for mode in ("L", "RGBA", "P"):
            raw = io.BytesIO()
            Image.new(mode, (50, 20), 255 if mode != "RGBA" else (255, 255, 255, 0)).save(raw, "PNG")
            archive.writestr(f"{mode}.png", raw.getvalue())
    loaded = samples(CalibrationKind.IMAGES, tmp_path / "packed")
    assert [sample.shape for sample in loaded] == [(1, 32, 32, 3)] * 3


def saved(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    return tmp_path / "x.npy"


@pytest.mark.parametrize("shape", [(5, 32, 32, 3), (5, 3, 32, 32)])
def test_float_arrays_are_used_as_inputs_in_either_layout(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    loaded = samples(CalibrationKind.ARRAYS, saved(tmp_path, array), count=9)
    assert len(loaded) == 5 and loaded[0].dtype == np.float32
    wanted = array[0] if shape[-1] == 3 else array[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(loaded[0][0], wanted.astype(np.float32))


@pytest.mark.parametrize("shape", [(2, 10, 12), (2, 10, 12, 1), (2, 10, 12, 3), (2, 3, 10, 12)])
def test_uint8_arrays_are_used_as_pictures(tmp_path, shape):
    loaded = samples(CalibrationKind.ARRAYS, saved(tmp_path, np.full(shape, 255, np.uint8)))
    assert [sample.shape for sample in loaded] == [(1, 32, 32, 3)] * 2
    assert loaded[0].min() == 1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": (1, 16), "dtype": "int64"}, r"int64 \(1, 16\) is no image"),
        ({"shape": (1, 32, 32, 5)}, "is no image"),
        ({"transform": "t", "transform_code": VECTOR}, r"transform t gives \(2,\)"),
    ],
)  # fmt: skip
def test_network_that_takes_no_picture_has_no_calibration_data(changes, reason):
    with pytest.raises(NoCalibrationData, match=f"no calibration data: .*{reason}"):
        samples(**changes)


def test_arrays_of_another_shape_are_refused_with_both_shapes(tmp_path):
    with pytest.raises(NoCalibrationData, match=r"array input are \(7,\), the input is \(32, 32, 3\)"):
        samples(CalibrationKind.ARRAYS, saved(tmp_path, np.zeros((2, 7))))


def test_noise_fits_every_network_and_differs_from_the_seeded_input():
    first, second = samples(CalibrationKind.NOISE, shape=(1, 16), dtype="int32", count=2)
    assert not np.array_equal(first, second) and set(np.unique(first)) == {0, 1}


def test_noise_draws_integers_over_the_range_that_the_network_accepts():
    tokens, image = np.zeros((1, 400), np.int64), np.zeros((1, 4), np.float32)
    for sample, pixels in of_inputs(CalibrationKind.NOISE, tokens, image, ranges=((3, 40), None)):
        assert sample.min() == 3 and sample.max() == 40 and len(np.unique(sample)) == 38
        assert pixels.dtype == np.float32 and np.abs(pixels).max() > 0


def test_each_of_several_images_gets_a_picture_of_its_own():
    image = np.zeros((1, 32, 32, 3), np.float32)
    found = of_inputs(CalibrationKind.SKLEARN, image, image)

    assert len(found) == 4 and not np.array_equal(*found[0])
    np.testing.assert_array_equal(found[0][1], found[1][0], err_msg="the next picture")


def test_number_of_samples_is_limited_by_memory(monkeypatch):
    monkeypatch.setattr("nnlite_conversion.pipeline.quantizing.calibration.MAX_BYTES", 3 * 32 * 32 * 3 * 4)
    assert len(samples(count=9)) == 3
