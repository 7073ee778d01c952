"""ZipReader gives what `zipfile` gives, and an error for a damaged archive."""

import random
import zipfile
from pathlib import Path

import pytest

from nnlite.catalog.lemur.zip_reader import ZipReader

CONTENTS = {
    "ab/nn/nn/ResNet.py": b"import torch\n" * 50,
    "ab/nn/nn/é.py": "caption = 'größer'\n".encode(),
    "empty.json": b"",
    "one": b"1",
    "random.bin": random.Random(1).randbytes(3000),
}


def archive(path: Path, method: int, *, comment: bytes = b"", entries: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", method) as written:
        for name, content in CONTENTS.items():
            written.writestr(name, content)
        for number in range(entries):
            written.writestr(f"{number}", b"")
        written.comment = comment
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"a comment", b"c" * (2**16 - 1)])
def test_every_file_is_read_as_zipfile_reads_it(method, comment, tmp_path):
    reader = ZipReader(archive(tmp_path / "a.whl", method, comment=comment))
    assert list(reader.paths) == list(CONTENTS)
    assert {name: reader.read(name) for name in reader.paths} == CONTENTS


def test_more_entries_than_the_old_format_counts_are_listed(tmp_path):
    reader = ZipReader(archive(tmp_path / "a.whl", zipfile.ZIP_STORED, entries=2**16))
    assert len(reader.paths) == 2**16 + len(CONTENTS)
    assert reader.read("one") == b"1"


def test_a_file_that_is_not_there_is_a_key_error(tmp_path):
    with pytest.raises(KeyError):
        ZipReader(archive(tmp_path / "a.whl", zipfile.ZIP_STORED)).read("other")


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"PK\x05\x06", b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_archive_is_refused_or_empty(content, tmp_path):
    path = tmp_path / "a.whl"
    path.write_bytes(content)
    try:
        assert not ZipReader(path).paths
    except zipfile.BadZipFile as error:
        assert str(error)


def test_an_unknown_method_is_refused(tmp_path):
    reader = ZipReader(archive(tmp_path / "a.whl", zipfile.ZIP_BZIP2))
    with pytest.raises(zipfile.BadZipFile, match="encrypted or of method 12"):
        reader.read("one")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_an_error_and_never_wrong_content(method, tmp_path):
    path, drawn = archive(tmp_path / "a.whl", method), random.Random(2)
    whole = path.read_bytes()
    damaged = [whole[: drawn.randrange(len(whole))] for _ in range(100)]
    for _ in range(500):
        place = drawn.choice([drawn.randrange(len(whole)), -drawn.randrange(1, 400)])
        changed = bytearray(whole)
        changed[place] ^= 1 << drawn.randrange(8)
        damaged.append(bytes(changed))
    for content in damaged:
        path.write_bytes(content)
        try:
            reader = ZipReader(path)
            read = {name: reader.read(name) for name in reader.paths}
        except zipfile.BadZipFile:
            continue
        # A bit of a name or a date is in no checksum.
        assert set(read.values()) <= set(CONTENTS.values())
