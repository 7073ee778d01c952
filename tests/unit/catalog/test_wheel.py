"""LEMUR's wheel: every way in which wheels are packed, and what is said of damaged ones."""

import zipfile

import pytest

from nnlite.catalog.lemur.wheel import WheelArchive
from nnlite.catalog.model import CatalogError
from unit.catalog.copies import MODEL, Lemur, trial


@pytest.fixture
def wheel(lemur: Lemur, tmp_path):
    """A wheel with a model and two of its epochs."""
    lemur.trained("net", trial("a"))
    lemur.trials["img-classification_cifar-10_acc_net", 2] = [trial("b")]
    return lemur.wheel(tmp_path / "lemur.whl")


def repacked(wheel, method=zipfile.ZIP_STORED, comment=b""):
    """Write the files of a wheel in another way into another one, and return that."""
    copy = wheel.with_name("copy.whl")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(copy, "w", method) as target:
        target.comment = comment
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return copy


def content(wheel):
    archive = WheelArchive(wheel)
    return dict(archive.models()), [each.uid for each in archive.trials()], archive.transforms()


def test_files_and_the_first_epoch_are_read(wheel):
    models, uids, transforms = content(wheel)

    assert models == {"net": MODEL}
    assert uids == ["a"]
    assert "norm_64" in transforms


@pytest.mark.parametrize("comment", [b"", b"PK\5 a comment" * 20])
def test_a_wheel_may_be_packed_without_compression_and_have_a_comment(comment, wheel):
    assert content(repacked(wheel, comment=comment)) == content(wheel)


def test_a_wheel_may_have_more_files_than_the_short_end_counts(wheel, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    copy = repacked(wheel)

    assert b"PK\6\6" in copy.read_bytes()
    assert content(copy) == content(wheel)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "lemur.whl is not a readable wheel: it has no end"),
        (lambda data: data.replace(b"PK\1\2", b"PK\1\3"), "its directory is damaged"),
        (lambda data: data[500:], "its directory is cut short"),
    ],
)
def test_a_damaged_wheel_is_named_with_what_to_do(damage, message, wheel):
    wheel.write_bytes(damage(wheel.read_bytes()))
    with pytest.raises(CatalogError, match=message) as raised:
        content(wheel)
    assert "nnlite fetch" in str(raised.value)


def test_a_damaged_file_is_named(wheel):
    copy = repacked(wheel)
    copy.write_bytes(copy.read_bytes().replace(b"class Net", b"class Met"))
    with pytest.raises(CatalogError, match=r"cannot read ab/nn/nn/net.py in .*: its checksum is another one"):
        content(copy)


def test_a_way_of_packing_that_wheels_do_not_have_is_named(wheel):
    with pytest.raises(CatalogError, match="compressed by method 12, as no wheel is"):
        content(repacked(wheel, zipfile.ZIP_BZIP2))
