"""The app's library for arm64 is run by an emulator in PATH, here by a program of the test's own."""

from pathlib import Path

import pytest

from nnlite.host.tflite_arm64 import RUN_ARTIFACT, run_emulated
from nnlite.host.tflite_environment import needed_environment
from nnlite.host.tflite_library import LIBRARY, RefusedError
from nnlite.settings import Settings, SettingsError
from nnlite.settings.groups import RuntimeCheckSettings

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as `make runtime-check-arm64` makes it, without what an emulator would run."""
    folder = tmp_path / "arm64"
    folder.mkdir()
    (folder / LIBRARY).write_bytes(b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little"))
    (folder / RUN_ARTIFACT).touch()
    return folder


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Let an emulator in PATH be this shell script; its $6 is the folder of outputs."""

    def make(script: str) -> None:
        program = tmp_path / "bin" / "qemu-aarch64"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return make


def environment(folder: Path):
    return needed_environment(Settings(runtime_check=RuntimeCheckSettings(library=folder), _env_file=None))


def test_the_runtime_has_its_own_version(folder, emulator):
    emulator("echo 2.16.1")
    found = environment(folder)
    assert (found.version, found.library) == ("2.16.1+apk-arm64", folder)


def test_without_an_emulator_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(SettingsError, match="qemu-aarch64 is not in PATH; install Debian's qemu-user"):
        environment(folder)


def test_outputs_are_read_with_their_types_and_shapes(folder, emulator, tmp_path):
    emulator('printf abcd > "$6/output_0.raw"; printf xy > "$6/output_1.raw"; echo 1 1; echo 9 1 2')
    first, second = run_emulated(folder, "a.tflite", ["in.raw"], tmp_path)
    assert first == ("float32", (1,), b"abcd")
    assert second == ("int8", (1, 2), b"xy")


def test_a_refusal_and_a_crash_differ(folder, emulator, tmp_path):
    emulator("echo 'no such operator' >&2; exit 3")
    with pytest.raises(RefusedError, match="no such operator"):
        run_emulated(folder, "a.tflite", [], tmp_path)
    emulator("echo 'Segmentation fault' >&2; exit 139")
    with pytest.raises(OSError, match="ended with 139: Segmentation fault"):
        run_emulated(folder, "a.tflite", [], tmp_path)
