"""The build program: what it takes for granted, and what it refuses."""

import hashlib
import os
import stat
import struct
import subprocess
import sys
import tomllib
import zipfile

import pytest

from android_app.binaries import data_offsets
from android_app.conftest import REPOSITORY, TIMEOUT_S
from apk import BuildError, signing
from apk.cache import Cache
from apk.commands import run
from apk.host import remove_host_app
from apk.lock import LOCK, Dependency, Registry, Use, locked, properties
from apk.packing import pack
from apk.virtual import DEVICE, redirected
from app_host import HOST_APP
from nnlite_benchmark.runtime_check.process import RUNNER


def dependency(content: bytes, **changes) -> Dependency:
    values = {
        "registry": Registry.MAVEN,
        "coordinate": "org.example:thing:1.0:jar",
        "sha256": hashlib.sha256(content).hexdigest(),
        "use": Use.TOOL,
    }
    return Dependency(**(values | changes))


def test_every_download_is_locked_with_its_exact_version_and_hash():
    entries = tomllib.loads(LOCK.read_text())

    assert set(entries) == {"maven", "npm", "debian"}
    assert len(locked()) == sum(map(len, entries.values()))
    assert len({one.name for one in locked()}) == len(locked())
    assert "tensorflow-lite-2.16.1.aar" in {one.name for one in locked(Use.APP)}


def test_the_tensorflow_of_runtime_checks_has_the_version_of_the_app():
    constraints = RUNNER.with_name("constraints.txt").read_text()
    major_minor = properties()["tflite"].rsplit(".", 1)[0]

    assert f"\ntensorflow-cpu=={major_minor}." in constraints


def test_a_filled_cache_needs_no_network(tmp_path, monkeypatch):
    (tmp_path / "thing-1.0.jar").write_bytes(b"right")
    monkeypatch.setenv("PATH", "/nowhere")
    cache = Cache(folder=tmp_path)

    cache.fill([dependency(b"right")])

    assert cache.file(dependency(b"right")).read_bytes() == b"right"


def test_a_file_with_another_hash_is_refused_and_named(tmp_path):
    (tmp_path / "thing-1.0.jar").write_bytes(b"wrong")

    with pytest.raises(BuildError, match=r"thing-1\.0\.jar has sha256 .* but dependencies\.toml says"):
        Cache(folder=tmp_path).file(dependency(b"right"))


def test_a_download_with_another_hash_never_enters_the_cache(tmp_path, monkeypatch):
    def wrong(missing, folder):
        for one in missing:
            (folder / one.name).write_bytes(b"wrong")

    monkeypatch.setattr("apk.cache.fetch", wrong)

    with pytest.raises(BuildError, match=r"org\.example:thing:1\.0:jar"):
        Cache(folder=tmp_path).fill([dependency(b"right")])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_client_is_named_with_a_hint(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    package = dependency(b"", registry=Registry.DEBIAN, coordinate="apksigner=1")

    with pytest.raises(BuildError, match=r"apt-get is not installed\n.*put its files into the cache"):
        Cache(folder=tmp_path).fill([package])


def test_a_replaced_debian_package_is_reported_with_a_hint(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    apt = programs / "apt-get"
    apt.write_text('#!/bin/sh\ncase "$*" in *download*) echo "E: Version not found" >&2; exit 100;; esac\n')
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    package = dependency(b"", registry=Registry.DEBIAN, coordinate="apksigner=1-1")

    with pytest.raises(BuildError, match=r"Version not found(.|\n)*snapshot archive.*apksigner_1-1\.deb"):
        Cache(folder=tmp_path / "cache").fill([package])


def test_an_error_is_one_message_without_a_traceback(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    for one in locked():
        (cache / one.name).write_bytes(b"")
    command = [sys.executable, "-m", "apk", "--cache", cache]

    result = subprocess.run(
        [*command, "--unsigned", tmp_path / "app.apk"],
        cwd=REPOSITORY / "tools", capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip

    assert result.returncode == 1
    assert result.stderr.startswith("apk: ") and "Traceback" not in result.stderr


def test_entries_are_sorted_stored_dated_and_aligned(tmp_path):
    for name in ("a.bin", "lib.so"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    entries = {"z": tmp_path / "a.bin", "lib/x/lib.so": tmp_path / "lib.so", "b": tmp_path / "a.bin"}

    pack(entries, tmp_path / "one.apk")

    offsets = data_offsets(tmp_path / "one.apk")
    assert list(offsets) == ["b", "lib/x/lib.so", "z"]
    assert offsets["lib/x/lib.so"] % 16384 == 0
    assert [offset % 4 for offset in offsets.values()] == [0, 0, 0]
    with zipfile.ZipFile(tmp_path / "one.apk") as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_key_in_the_checkout_is_refused(monkeypatch):
    monkeypatch.setenv(signing.KEY, str(REPOSITORY / "build" / "key.p12"))

    with pytest.raises(BuildError, match="does not belong into the checkout"):
        signing.ensure_key()


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path, monkeypatch):
    monkeypatch.setenv(signing.KEY, str(tmp_path / "keys" / "android.p12"))

    key = signing.ensure_key()
    content = key.read_bytes()

    assert signing.ensure_key().read_bytes() == content
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert list(key.parent.iterdir()) == [key]


def test_the_key_lies_with_the_users_configuration(monkeypatch, tmp_path):
    monkeypatch.delenv(signing.KEY, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert signing.key_file() == tmp_path / "nnlite" / "android-key.p12"


def test_a_program_that_hangs_is_ended(tmp_path):
    with pytest.raises(BuildError, match=r"sleep took more than 0\.1 s"):
        run(["sleep", "60"], timeout_s=0.1)


def test_only_calls_that_are_there_can_be_redirected():
    state = (HOST_APP.folder / "app/org/nnlite/benchmark/AndroidSurroundings.class").read_bytes()

    with pytest.raises(BuildError, match=r"does not call \('java/lang/System', 'nanoTime'"):
        redirected(state, frozenset({("java/lang/System", "nanoTime")}))
    with pytest.raises(BuildError, match="not a Java class file"):
        redirected(b"PK\3\4 of a jar", frozenset())


def test_a_redirected_class_has_the_same_code():
    original = HOST_APP.folder / "app/org/nnlite/benchmark/AppRun.class"
    changed = HOST_APP.folder / "virtual/org/nnlite/benchmark/AppRun.class"

    # Of the constant pool's header two bytes differ, and one reference; two constants are new.
    new = struct.pack(">BH", 1, len(DEVICE)) + DEVICE.encode() + bytes([7])
    assert len(changed.read_bytes()) == len(original.read_bytes()) + len(new) + 2
    assert new in changed.read_bytes() and new not in original.read_bytes()


def test_a_folder_of_other_files_is_not_replaced_by_a_built_app(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(BuildError, match=r"thesis\.txt and is no built app"):
        remove_host_app(tmp_path)

    assert (tmp_path / "thesis.txt").exists()
    (tmp_path / "app").mkdir()
    remove_host_app(tmp_path)
    assert not tmp_path.exists()
