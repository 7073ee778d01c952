"""A user's calibration data become one file that the same choice always gives; invalid data are reported."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from nnlite.artifacts.calibration import Calibration, CalibrationKind, named, pack
from nnlite.artifacts.samples import SamplesError, arrays, decoded, pictures


def calibration(kind=CalibrationKind.IMAGES, samples=3, seed=0):
    return Calibration(kind=kind, samples=samples, seed=seed, name="mine")


@pytest.fixture
def folder(tmp_path):
    """Five pictures, one of them deeper down, and something that is none."""
    place = tmp_path / "mine"
    (place / "more").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.png", "c.PNG", "d.png", "more/e.jpg"]):
        Image.new("RGB", (8, 6), (number * 40, 0, 0)).save(place / name)
    (place / "notes.txt").write_text("not a picture")
    return place


def test_equal_seeds_give_equal_bytes_and_different_seeds_different_ones(folder, tmp_path):
    packed = [tmp_path / name for name in ("first", "again", "other")]
    for target, seed in zip(packed, (0, 0, 1), strict=True):
        pack(calibration(seed=seed), folder, target)

    assert packed[0].read_bytes() == packed[1].read_bytes() != packed[2].read_bytes()
    assert [image.size for image in pictures(packed[0])] == [(8, 6)] * 3


def test_the_cache_key_depends_on_content_and_seed_and_not_on_the_folders_name():
    one = Calibration(kind=CalibrationKind.IMAGES, name="mine", path="ab/abc.zip")
    assert one.key() == Calibration(kind=CalibrationKind.IMAGES, name="yours", path="ab/abc.zip").key()
    assert one.key() != Calibration(kind=CalibrationKind.IMAGES, name="mine", path="cd/cde.zip").key()
    assert one.key() != Calibration(kind=CalibrationKind.IMAGES, path="ab/abc.zip", seed=1).key()
    assert Calibration.from_dict(one.as_dict()) == one


@pytest.mark.parametrize("dataset", ["mnist", "cifar-10"])
def test_the_pictures_of_scikit_learn_are_marked_as_not_representative(dataset):
    what = "digits" if dataset == "mnist" else "photos"
    bundled, _ = named(None, samples=1, seed=0)
    assert bundled.provenance(dataset) == f"sklearn-{what}, not representative"
    assert calibration().provenance(dataset) == "images of mine"
    assert named("noise", samples=1, seed=0)[0].provenance(dataset).startswith("random noise")


def test_the_argument_is_a_folder_an_array_file_or_a_keyword(folder, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    kinds = [named(str(name), samples=1, seed=0)[0].kind for name in (folder, tmp_path / "x.npy", "noise")]
    assert kinds == [CalibrationKind.IMAGES, CalibrationKind.ARRAYS, CalibrationKind.NOISE]
    with pytest.raises(SamplesError, match="photos does not exist; name one, or sklearn, or noise"):
        named("photos", samples=1, seed=0)
    with pytest.raises(SamplesError, match=r"notes\.txt is neither a folder of images nor a \.npy"):
        named(str(folder / "notes.txt"), samples=1, seed=0)


def test_a_folder_without_pictures_is_refused_with_the_accepted_types(tmp_path):
    with pytest.raises(SamplesError, match=r"has no images \(\.bmp, \.jpeg"):
        pack(calibration(), tmp_path, tmp_path / "packed")


def png_of(side: int) -> bytes:
    """A picture that says it has this many pixels a side, with nearly none behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"GIF89a, or so it says", "is none of JPEG, PNG, BMP, WEBP, PPM"),
        (b"", "is none of JPEG"),
        (png_of(8)[:20], "is broken: "),
        (png_of(9_000), "has 9000 x 9000 pixels, more than 50,000,000"),
        (png_of(60_000), "has too many pixels, more than 50,000,000"),
    ],
)
def test_an_unusable_picture_is_named_without_being_decoded(folder, tmp_path, raw, message):
    (folder / "a.png").write_bytes(raw)
    with pytest.raises(SamplesError, match=rf"image .*a\.png .*{message}"):
        pack(calibration(samples=9), folder, tmp_path / "packed")


def test_a_truncated_picture_is_named(folder):
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    with pytest.raises(SamplesError, match=r"image late\.png is broken: .*; remove it"):
        decoded("late.png", whole.getvalue()[:900])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_array_that_is_not_finite_is_refused_with_its_first_sample(tmp_path, value):
    values = np.zeros((4, 3), np.float32)
    values[2, 1] = value
    np.save(tmp_path / "x.npy", values)

    with pytest.raises(SamplesError, match=r"array input of .*x\.npy has NaN or infinite .* sample 2"):
        pack(calibration(CalibrationKind.ARRAYS), tmp_path / "x.npy", tmp_path / "packed")


def test_arrays_are_chosen_along_their_first_dimension(tmp_path):
    np.savez(tmp_path / "x.npz", pixels=np.arange(20).reshape(10, 2), mask=np.arange(10) > 4)
    pack(calibration(CalibrationKind.ARRAYS), tmp_path / "x.npz", tmp_path / "packed")
    chosen = arrays(tmp_path / "packed")
    assert list(chosen) == ["pixels", "mask"] and chosen["pixels"].shape == (3, 2)
    assert ((chosen["pixels"][:, 0] > 8) == chosen["mask"]).all(), "the same samples of both"


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


def announced(shape: tuple[int, ...]) -> bytes:
    """A .npy file that says it is of this shape, and ends."""
    raw = io.BytesIO()
    np.lib.format.write_array_header_1_0(raw, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return raw.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([Hostile()], dtype=object), "is of object; numbers are read, nothing else"),
        (np.zeros(3, dtype="S5"), "numbers are read"),
        (announced((10**6, 10**6)), "has 3814697 MiB, at most 512 are read; save fewer"),
        (announced((4, 4)), "cannot be read"),
        (pickle.dumps(Hostile()), "cannot be read"),
        (np.float32(1), "each needs as many along its first dimension"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_are_never_unpickled_nor_larger_than_declared(tmp_path, capsys, content, message, suffix):
    file = tmp_path / f"x{suffix}"
    member = io.BytesIO()
    if isinstance(content, bytes):
        member.write(content)
    else:
        np.save(member, content, allow_pickle=True)
    if suffix == ".npy":
        file.write_bytes(member.getvalue())
    else:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", member.getvalue())
    with pytest.raises(SamplesError, match=message) as refused:
        pack(calibration(CalibrationKind.ARRAYS), file, tmp_path / "packed")
    assert file.name in str(refused.value) and "executed" not in capsys.readouterr().out
