"""Files that untrusted code left: moved where nobody can change them any more, else copied, else refused."""

import hashlib
import os
import struct

import pytest

from nnlite_conversion.isolation.collecting import BadFile, take_file

CONTENT = b"content" * 1000


@pytest.fixture
def folders(tmp_path):
    """The child's folder and the worker's."""
    for name in ("scratch", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "scratch/net.tflite").write_bytes(CONTENT)
    return tmp_path / "scratch/net.tflite", tmp_path / "work/net.tflite"


def expected():
    return hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)


def test_a_file_of_its_own_is_moved_and_is_as_a_copy_would_be(folders):
    source, target = folders
    source.chmod(0o777)
    inode = source.stat().st_ino

    assert take_file(source, target) == expected()
    assert (target.stat().st_ino, source.exists()) == (inode, False)
    copy = target.with_name("copy")
    copy.touch()
    moved, usual = target.stat(), copy.stat()
    assert (moved.st_mode, moved.st_uid, moved.st_gid) == (usual.st_mode, usual.st_uid, usual.st_gid)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_of_another_account_becomes_the_workers(folders):
    source, target = folders
    os.chown(source, 65534, 65534)

    assert take_file(source, target) == expected()
    assert (target.stat().st_uid, target.stat().st_gid) == (os.geteuid(), os.getegid())


def test_a_file_that_is_still_open_for_writing_is_copied(folders):
    source, target = folders
    with source.open("r+b") as writer:
        assert take_file(source, target) == expected()
        writer.write(b"changed")

    assert target.read_bytes() == CONTENT


def test_a_file_with_another_name_is_copied(folders):
    source, target = folders
    os.link(source, source.with_name("other"))

    assert take_file(source, target) == expected()
    assert target.stat().st_ino != source.stat().st_ino


def test_a_file_that_names_who_may_write_it_is_copied(folders):
    source, target = folders
    # Owner, nobody, group, mask and others; see acl(5).
    entries = [(1, 6, -1), (2, 6, 65534), (4, 4, -1), (16, 6, -1), (32, 4, -1)]
    try:
        packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *each) for each in entries)
        os.setxattr(source, "system.posix_acl_access", packed)
    except OSError:
        pytest.skip("the file system has no access lists")

    assert take_file(source, target) == expected()
    assert os.listxattr(target) == []


@pytest.mark.parametrize("kind", ["link", "pipe", "nothing", "folder"])
def test_what_is_no_regular_file_is_refused(kind, folders):
    source, target = folders
    source.unlink()
    if kind == "link":
        source.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(source)
    elif kind == "folder":
        source.mkdir()

    with pytest.raises(BadFile, match=r"net.tflite (cannot be read|is not a regular file)"):
        take_file(source, target)
