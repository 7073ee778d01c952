"""File locks, shared and exclusive, and their inheritance: `nnlite.host.locks`."""

import os
import subprocess
import sys

import pytest

from nnlite.host.locks import FileLock, LockTimeout
from waiting import HANG_S


def test_shared_locks_exclude_an_exclusive_one(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path) as first, FileLock(path) as second, FileLock(path) as third:
        assert first.try_shared()
        assert second.try_shared()
        assert not third.try_exclusive()
        first.close()
        second.close()
        assert third.try_exclusive()
        with FileLock(path) as fourth:
            assert not fourth.try_shared()


def test_only_the_last_of_two_holders_gets_the_lock_exclusively(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path) as first, FileLock(path) as second:
        assert first.try_shared()
        assert second.try_shared()
        assert not first.try_exclusive()
        assert second.try_exclusive()


def test_a_wait_times_out_and_names_the_lock(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path) as holder, FileLock(path) as waiter:
        assert holder.try_exclusive()
        with pytest.raises(LockTimeout, match=str(path)):
            waiter.shared(timeout_s=0.05)


@pytest.mark.process
def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path) as holder:
        assert holder.try_exclusive()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        holder.close()
        try:
            with FileLock(path) as other:
                other.exclusive(timeout_s=HANG_S)  # the child drops its copy at once, yet not before it runs
        finally:
            os.close(writing)
            os.waitpid(child, 0)
            os.close(reading)


@pytest.mark.process
def test_a_child_program_holds_the_lock_only_when_it_is_passed_on(tmp_path):
    path = tmp_path / "lock"
    program = [sys.executable, "-S", "-c", "input()"]
    with FileLock(path) as lock:
        assert lock.try_exclusive()
        plain = subprocess.Popen(program, stdin=subprocess.PIPE)
        lock.close()
    with FileLock(path) as lock:
        assert lock.try_exclusive()
        heir = subprocess.Popen(program, stdin=subprocess.PIPE, pass_fds=[lock.pass_on()])
    with FileLock(path) as other:
        assert not other.try_exclusive()
        heir.communicate(b"\n", timeout=HANG_S)
        assert other.try_exclusive()
    plain.communicate(b"\n", timeout=HANG_S)


def test_a_folder_is_locked_and_a_link_to_one_is_refused(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    with FileLock.on_folder(folder) as lock, FileLock.on_folder(folder) as other:
        assert lock.try_shared()
        assert not other.try_exclusive()
    with pytest.raises(OSError, match="link"):
        FileLock.on_folder(link)


def test_the_holder_writes_text_into_the_file(tmp_path):
    with FileLock(tmp_path / "lock") as holder, FileLock(tmp_path / "lock") as other:
        holder.write("a long note")
        holder.write("17")
        assert other.read() == "17"


def test_a_lock_that_is_never_closed_is_held_until_the_process_ends(tmp_path):
    FileLock(tmp_path / "lock").try_exclusive()
    with FileLock(tmp_path / "lock") as other:
        assert not other.is_free()
