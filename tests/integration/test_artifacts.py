"""The artifact store on real file systems: content-addressed, atomic, and clear about what is wrong."""

import errno
import os
import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import pytest

from nnlite.artifacts.store import ArtifactGoneError, ArtifactStore, StoreError
from nnlite.host.files import file_sha256
from waiting import HANG_S

PROGRAMS = Path(__file__).parent / "programs"

CONTENT = os.urandom(3 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.tflite"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A store in a folder, and one that is not on this machine's disk."""
    if request.param == "folder":
        return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    request.addfinalizer(fsspec.filesystem("memory").store.clear)
    return ArtifactStore(f"memory://{tmp_path.name}/artifacts", tmp_path / "cache")


def stored(store: ArtifactStore, path: str):
    """The bytes behind the store's back: its file system and the full path in it."""
    filesystem, root = fsspec.core.url_to_fs(store.url)
    return filesystem, f"{root}/{path}"


def names(store: ArtifactStore) -> list[str]:
    filesystem, root = stored(store, "")
    return sorted(name.rpartition("/")[2] for name in filesystem.find(root))


def test_a_file_lies_under_its_content_and_comes_back_the_same(store, file):
    path = store.put(file, ".tflite")
    sha256 = file_sha256(file)
    assert path == f"{sha256[:2]}/{sha256}.tflite"
    assert store.fetch(path).read_bytes() == CONTENT
    assert file.read_bytes() == CONTENT, "a copy was stored"


def test_a_file_of_this_process_is_linked_where_the_store_is_on_its_file_system(store, file):
    sha256 = file_sha256(file)
    path = store.put(file, ".tflite", own_sha256=sha256)
    assert store.put(file, ".tflite", own_sha256=sha256) == path == f"{sha256[:2]}/{sha256}.tflite"
    assert file.stat().st_nlink == 1 + (not store.url.startswith("memory:"))
    file.unlink()
    assert store.fetch(path).read_bytes() == CONTENT


def test_a_file_of_another_file_system_is_copied(tmp_path, file, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    path = store.put(file, ".tflite", own_sha256=file_sha256(file))
    assert file.stat().st_nlink == 1 and store.fetch(path).read_bytes() == CONTENT


def test_the_same_content_is_stored_once(store, file, tmp_path):
    twin = tmp_path / "twin.tflite"
    twin.write_bytes(CONTENT)
    assert store.put(file, ".tflite") == store.put(twin, ".tflite")
    assert names(store) == [f"{file_sha256(file)}.tflite"]


def test_what_is_held_is_known_with_its_size(store, file):
    path = store.put(file, ".tflite")
    assert store.holds(path) and store.holds(path, len(CONTENT))
    assert not store.holds(path, len(CONTENT) - 1)
    assert not store.holds("00/00.tflite")


def test_a_truncated_file_is_not_handed_out_and_can_be_stored_again(store, file):
    path = store.put(file, ".tflite")
    filesystem, full = stored(store, path)
    filesystem.pipe_file(full, CONTENT[:-1])
    with pytest.raises(ArtifactGoneError, match=rf"artifact {path} in .* is truncated or changed"):
        store.fetch(path)
    store.put(file, ".tflite")
    assert store.fetch(path).read_bytes() == CONTENT


def test_a_changed_file_of_the_same_size_is_not_handed_out_and_discarded(store, file):
    path = store.put(file, ".tflite")
    filesystem, full = stored(store, path)
    filesystem.pipe_file(full, b"?" + CONTENT[1:])
    with pytest.raises(ArtifactGoneError, match="truncated or changed"):
        store.fetch(path)
    store.discard(path)
    assert not store.holds(path)
    store.put(file, ".tflite")
    assert store.fetch(path).read_bytes() == CONTENT


def test_a_missing_file_is_said_and_discarding_it_does_no_harm(store, file):
    path = store.put(file, ".tflite")
    store.discard(path)
    store.discard(path)
    with pytest.raises(ArtifactGoneError, match=rf"artifact {path} is not in .*{store.url}"):
        store.fetch(path)


def test_a_remote_file_is_copied_once(tmp_path, file):
    store = ArtifactStore(f"memory://{tmp_path.name}", tmp_path / "cache")
    path = store.put(file, ".tflite")
    first = store.fetch(path)
    assert first == tmp_path / "cache" / path
    before = first.stat().st_mtime_ns
    assert store.fetch(path).stat().st_mtime_ns == before
    assert [kept.name for kept in first.parent.iterdir()] == [first.name], "no half a copy next to it"


def test_a_remote_file_that_was_copied_badly_is_copied_anew(tmp_path, file):
    store = ArtifactStore(f"memory://{tmp_path.name}", tmp_path / "cache")
    path = store.put(file, ".tflite")
    store.fetch(path).write_bytes(CONTENT[:100])
    with pytest.raises(ArtifactGoneError):
        store.fetch(path)
    assert store.fetch(path).read_bytes() == CONTENT


def test_a_folders_own_file_is_not_copied(tmp_path, file):
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    path = store.put(file, ".tflite")
    assert store.fetch(path) == tmp_path / "artifacts" / path
    assert not (tmp_path / "cache").exists()


def test_a_write_that_breaks_off_leaves_nothing(store, file, monkeypatch):
    filesystem = type(stored(store, "")[0])

    def half(self, source: str, target: str, **_: object) -> None:
        self.pipe_file(target, CONTENT[:100])
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(filesystem, "put_file", half)
    with pytest.raises(StoreError, match=f"{store.url} cannot be used: Input/output error"):
        store.put(file, ".tflite")
    assert names(store) == []


def test_a_writer_that_is_killed_leaves_nothing_that_can_be_fetched(tmp_path, file):
    killed = subprocess.run(
        [sys.executable, PROGRAMS / "killed_store_writer.py", tmp_path / "artifacts", file], timeout=HANG_S
    )
    assert killed.returncode == -9
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    assert not [name for name in names(store) if name.endswith(".tflite")]
    path = store.put(file, ".tflite")
    assert store.fetch(path).read_bytes() == CONTENT


FILL = PROGRAMS / "fill_store.py"


def test_a_full_disk_is_said_with_the_store_and_the_way_out(tmp_path, file):
    small, disk = tmp_path / "small", tmp_path / "disk"
    small.write_bytes(b"small")
    disk.mkdir()
    # A file system of one megabyte that only this process sees.
    command = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = subprocess.run(
        [*namespace, "sh", "-c", command, "sh", disk, sys.executable, FILL, disk, small, file],
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    said, kept, clean = done.stdout.splitlines()
    assert said == f"the artifact store {disk} is full (0 MiB free): free some space there"
    assert (kept, clean) == ("b'small'", "True"), "what was there stays, and nothing is added"


def test_a_full_remote_store_is_said_too(tmp_path, file, monkeypatch):
    store = ArtifactStore(f"memory://{tmp_path.name}", tmp_path / "cache")

    def full(self, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "put_file", full)
    with pytest.raises(StoreError, match=rf"the artifact store memory://{tmp_path.name} is full: free some"):
        store.put(file, ".tflite")


def test_a_full_folder_of_copies_is_not_called_a_full_store(tmp_path, file, monkeypatch):
    store = ArtifactStore(f"memory://{tmp_path.name}", tmp_path / "cache")
    path = store.put(file, ".tflite")

    def half(self, source: str, target: str, **_: object) -> None:
        Path(target).write_bytes(CONTENT[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", half)
    with pytest.raises(StoreError, match=rf"^{tmp_path}/cache is full, where artifacts are copied to"):
        store.fetch(path)
    assert not [kept for kept in (tmp_path / "cache").rglob("*") if kept.is_file()]


def test_a_store_that_can_be_written_passes_its_check_and_keeps_nothing_of_it(store):
    store.check()
    assert names(store) == []


def test_a_store_that_is_a_file_fails_its_check(tmp_path, file):
    with pytest.raises(StoreError, match=rf"the artifact store {file} cannot be used: "):
        ArtifactStore(str(file), tmp_path / "cache").check()


@pytest.mark.parametrize("url", ["nonsense://bucket/x", "s4://bucket"])
def test_an_url_that_nothing_understands_names_its_setting(tmp_path, url):
    with pytest.raises(StoreError, match=f"NNLITE_ARTIFACTS_URL={url}: .*; write a folder or an fsspec URL"):
        ArtifactStore(url, tmp_path / "cache")


BENCHMARK = uuid.UUID("0123456789abcdef0123456789abcdef")


def test_a_report_lies_beside_the_artifacts_under_a_name_for_people(store):
    path = store.put_report(b"{}", campaign="a night/1", name="ga-1-fp32-phones", benchmark_id=BENCHMARK)
    assert path == "reports/a_night_1/ga-1-fp32-phones-01234567.json"
    filesystem, full = stored(store, path)
    assert filesystem.cat_file(full) == b"{}"


def test_a_later_report_of_a_benchmark_takes_the_place_of_the_first(store):
    for content in (b"first", b"second"):
        path = store.put_report(content, campaign="night", name="ga-1", benchmark_id=BENCHMARK)
    assert names(store) == ["ga-1-01234567.json"]
    filesystem, full = stored(store, path)
    assert filesystem.cat_file(full) == b"second"


@pytest.mark.parametrize("name", ["..", ".hidden", "a/../b", "x" * 1000, "Ü"])
def test_no_name_leads_a_report_out_of_its_folder(store, name):
    path = store.put_report(b"{}", campaign=name, name=name, benchmark_id=BENCHMARK)
    assert len(path.split("/")) == 3
    assert not any(part.startswith(".") for part in path.split("/"))
    assert len(path.rpartition("/")[2]) < 200


def test_a_report_that_cannot_be_stored_says_so_and_leaves_nothing(store, monkeypatch):
    filesystem, _ = stored(store, "")
    monkeypatch.setattr(filesystem, "mv", _no_space)
    with pytest.raises(StoreError, match="is full"):
        store.put_report(b"{}", campaign="night", name="ga-1", benchmark_id=BENCHMARK)
    assert names(store) == []


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
