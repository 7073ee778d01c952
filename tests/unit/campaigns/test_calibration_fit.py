"""Calibration arrays that fit no model of a campaign are refused when it is submitted."""

import numpy as np
import pytest

from nnlite.artifacts.calibration import Calibration, CalibrationKind, pack
from nnlite.artifacts.samples import SamplesError
from nnlite.artifacts.store import ArtifactStore
from nnlite.campaigns.calibration_fit import check_fit, misfit
from nnlite.catalog.model import CatalogModel, ModelInput

IMAGE = ModelInput(shape=(1, 3, 8, 6))
TOKENS = ModelInput(shape=(1, 5), dtype="int64")
SINGLE = ModelInput(shape=(4, 2), axes="TF")


def model(*inputs, **fields):
    return CatalogModel(source="files", name="net", inputs=inputs, **fields)


@pytest.mark.parametrize(
    ("inputs", "samples", "reason"),
    [
        ([IMAGE], {"x": ((8, 6, 3), "float32")}, None),
        ([IMAGE], {"x": ((3, 8, 6), "float32")}, None),
        ([IMAGE], {"x": ((32, 48, 3), "uint8")}, None),
        ([IMAGE, IMAGE], {"x": ((48, 32), "uint8")}, None),
        ([IMAGE, TOKENS], {"x": ((8, 6, 3), "float32"), "y": ((5,), "int64")}, None),
        ([SINGLE], {"x": ((4, 2), "float32")}, None),
        ([], {"x": ((7,), "float32")}, None),
        (
            [IMAGE],
            {"x": ((8, 8, 3), "float32")},
            "samples of array x have the shape (8, 8, 3), the input takes (8, 6, 3) or (3, 8, 6)",
        ),
        ([IMAGE], {"x": ((8, 6, 5), "uint8")}, "an array of shape (8, 6, 5) is no picture"),
        ([TOKENS], {"x": ((6,), "int64")}, "samples of array x have the shape (6,), the input takes (5,)"),
        ([IMAGE, TOKENS], {"x": ((8, 6, 3), "float32")}, "1 arrays for 2 inputs"),
    ],
)
def test_a_misfit_is_named_with_both_shapes(inputs, samples, reason):
    assert misfit(samples, model(*inputs)) == reason


def test_the_input_of_an_image_model_is_known_by_its_shape():
    assert misfit({"x": ((9, 9), "float32")}, model(input_shape=(1, 1, 8, 8)))


@pytest.fixture
def stored(tmp_path):
    """A store, and a calibration in it whose samples are 5 tokens."""
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    np.save(tmp_path / "x.npy", np.zeros((3, 5), np.int64))
    calibration = Calibration(kind=CalibrationKind.ARRAYS, samples=2, name="x.npy")
    pack(calibration, tmp_path / "x.npy", tmp_path / "packed")
    path = store.put(tmp_path / "packed", ".zip")
    return store, Calibration(kind=CalibrationKind.ARRAYS, samples=2, name="x.npy", path=path)


def test_arrays_that_fit_one_model_of_several_are_taken(stored):
    store, calibration = stored
    check_fit(calibration, [model(IMAGE), model(TOKENS)], store)
    check_fit(Calibration(kind=CalibrationKind.NOISE), [model(IMAGE)], store)
    check_fit(calibration, [model(IMAGE, skipped="too large")], store)


def test_arrays_that_fit_no_model_are_refused(stored):
    store, calibration = stored
    with pytest.raises(SamplesError) as refused:
        check_fit(calibration, [model(IMAGE), model(IMAGE, IMAGE)], store)
    assert str(refused.value) == (
        "calibration data x.npy does not fit net (and none of 1 others): samples of array input have the "
        "shape (5,), the input takes (8, 6, 3) or (3, 8, 6); each array has one input's samples along its "
        "first dimension"
    )
