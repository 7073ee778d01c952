"""Labelled samples of users become one file with their classes; invalid ones are reported."""

import numpy as np
import pytest
from PIL import Image

from digits import save_folder
from nnlite.artifacts.evaluation import Labels, kind_of, labels, pack
from nnlite.artifacts.samples import SamplesError, arrays, pictures


def test_a_folder_is_packed_in_random_order_with_the_classes_of_its_sub_folders(tmp_path):
    folder = save_folder(tmp_path / "digits", 40, seed=0)
    packed = [tmp_path / name for name in ("first", "again", "other")]
    counts = [pack(folder, file, samples=20, seed=seed) for file, seed in zip(packed, (0, 0, 1), strict=True)]

    assert counts == [20] * 3
    assert packed[0].read_bytes() == packed[1].read_bytes() != packed[2].read_bytes()
    known = labels(packed[0])
    assert known.classes is None and len(known.labels) == 20
    assert len(set(known.labels[:10])) > 4, "the first are of many classes"
    assert len(list(pictures(packed[0]))) == 20


def test_names_that_are_no_numbers_are_numbered_in_their_order(tmp_path):
    for number, name in enumerate(["cat", "ant", "bee"]):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (4, 4), number).save(tmp_path / "data" / name / "a.png")
    pack(tmp_path / "data", tmp_path / "packed", samples=9, seed=0)
    known = labels(tmp_path / "packed")
    shades = [image.getpixel((0, 0)) for image in pictures(tmp_path / "packed")]
    assert known.classes == ("ant", "bee", "cat")
    assert [["cat", "ant", "bee"][shade] for shade in shades] == [known.classes[n] for n in known.labels]


def test_arrays_are_packed_with_their_classes(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(10.0).reshape(10, 1), y=np.arange(10)[:, np.newaxis])
    assert pack(tmp_path / "x.npz", tmp_path / "packed", samples=4, seed=0) == 4
    known = labels(tmp_path / "packed")
    assert known == Labels(labels=tuple(int(x) for x in arrays(tmp_path / "packed")["x"][:, 0]), classes=None)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"x": np.zeros((2, 3))}, r"has the arrays x; it needs x, the samples, and y"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2)}, r"array y of .* is float64 \(2,\); it needs one whole"),
        ({"x": np.zeros((2, 3)), "y": np.array([0, -1])}, "it needs one whole number from 0 on"),
        ({"x": np.zeros((2, 3)), "y": np.zeros((2, 5), int)}, r"is int64 \(2, 5\); it needs one whole"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(3, int)}, "arrays of .* have 2, 3 samples"),
        (
            {"x": np.full((2, 3), np.nan), "y": np.zeros(2, int)},
            "NaN or infinite values, the first in sample 0",
        ),
    ],
)
def test_arrays_without_classes_are_refused(tmp_path, named, message):
    np.savez(tmp_path / "x.npz", **named)
    with pytest.raises(SamplesError, match=message):
        pack(tmp_path / "x.npz", tmp_path / "packed", samples=4, seed=0)


def test_what_is_no_labelled_data_is_refused_with_what_is(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    for name, message in (("photos", "does not exist; name a folder"), ("notes.txt", "is no labelled data")):
        with pytest.raises(SamplesError, match=message):
            kind_of(tmp_path / name)
    (tmp_path / "flat").mkdir()
    with pytest.raises(SamplesError, match="it has no images"):
        pack(tmp_path / "flat", tmp_path / "packed", samples=4, seed=0)
    Image.new("L", (4, 4)).save(tmp_path / "flat" / "a.png")
    with pytest.raises(SamplesError, match="its images are in no sub-folders; name a folder"):
        pack(tmp_path / "flat", tmp_path / "packed", samples=4, seed=0)
