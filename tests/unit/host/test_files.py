"""Atomic writes: `nnlite.host.files`."""

import pytest

from nnlite.host.files import replacing, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, "old")
    write_atomically(path, b"new", durable=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_has_mode_0600(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "secret", private=True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(OSError, match="disk is full"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_not_matched_by_a_pattern_for_the_file(tmp_path):
    with replacing(tmp_path / "file.json") as temporary:
        temporary.touch()
        assert not list(tmp_path.glob("*.json"))
