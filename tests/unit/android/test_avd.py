"""AVDs are found or created from the settings, and stale locks are removed."""

import subprocess
import sys
from pathlib import Path

import pytest

from nnlite.settings import SettingsError
from nnlite.settings.groups import EmulatorSettings
from nnlite_benchmark.android.emulator import avd


def config(folder: Path) -> dict[str, str]:
    lines = (folder / "config.ini").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_an_avd_is_created_from_the_settings(tmp_path):
    settings = EmulatorSettings(api_level=34, memory_mb=4096, cores=4, data_partition_mb=8192)
    folder = avd.find_or_create("lab-1", tmp_path, settings)
    ini = config(folder)
    assert ini["image.sysdir.1"] == "system-images/android-34/google_apis/x86_64/"
    assert (ini["hw.ramSize"], ini["hw.cpu.ncore"]) == ("4096", "4")
    assert ini["disk.dataPartition.size"] == "8192M"
    assert (ini["hw.lcd.width"], ini["hw.lcd.height"], ini["hw.lcd.density"]) == ("1080", "2280", "440")
    assert f"path={folder}" in (tmp_path / "lab-1.ini").read_text()


def test_an_existing_avd_is_not_changed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "mine.ini").write_text(f"target=android-30\npath={elsewhere}\n")
    assert avd.find_or_create("mine", tmp_path, EmulatorSettings()) == elsewhere
    assert not (elsewhere / "config.ini").exists()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("../up", {}, "letters, digits"),
        ("a b", {}, "letters, digits"),
        ("ok", {"profile": "nokia"}, "NNLITE_EMULATOR__PROFILE=nokia"),
        ("ok", {"abi": "mips"}, "NNLITE_EMULATOR__ABI=mips"),
    ],
)
def test_invalid_avd_settings_raise_an_error(tmp_path, name, changes, message):
    with pytest.raises(SettingsError, match=message):
        avd.find_or_create(name, tmp_path, EmulatorSettings(**changes))


def test_locks_of_a_dead_emulator_are_removed(tmp_path):
    (tmp_path / "multiinstance.lock").write_text("")
    (tmp_path / "hardware-qemu.ini.lock").mkdir()
    (tmp_path / "hardware-qemu.ini.lock" / "pid").write_text("4711")
    (tmp_path / "userdata.img").write_text("data")
    assert avd.remove_stale_locks(tmp_path) == ["hardware-qemu.ini.lock", "multiinstance.lock"]
    assert [path.name for path in tmp_path.iterdir()] == ["userdata.img"]


@pytest.mark.process
@pytest.mark.parametrize("options", [("-avd", "one"), ("@one",)])
def test_the_emulator_that_runs_an_avd_is_known_by_its_locks(tmp_path, options):
    lock = tmp_path / "hardware-qemu.ini.lock"
    (tmp_path / "multiinstance.lock").write_text("")
    program = [sys.executable, "-c", "print(flush=True); input()", *options]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as emulator:
        assert emulator.stdout is not None and emulator.stdout.readline()
        lock.write_text(f"{emulator.pid}\n")
        assert avd.emulator_of("one", tmp_path) == emulator.pid
        assert avd.emulator_of("two", tmp_path) is None, "another process has the PID"
        emulator.communicate(b"\n")
        assert avd.emulator_of("one", tmp_path) is None


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    folder = tmp_path / "sdk"
    program = avd.emulator_program(folder)
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (folder / avd.image_folder(EmulatorSettings())).mkdir(parents=True)
    return folder


def test_the_sdk_setting_has_precedence_over_the_environment(sdk, monkeypatch):
    monkeypatch.setenv("ANDROID_HOME", "/nowhere")
    assert avd.sdk_folder(EmulatorSettings(sdk=sdk)) == sdk
    monkeypatch.setenv("ANDROID_HOME", str(sdk))
    assert avd.sdk_folder(EmulatorSettings()) == sdk


def test_a_missing_sdk_package_raises_an_error_with_a_hint(sdk, monkeypatch):
    with pytest.raises(SettingsError, match="sdkmanager 'system-images;android-33;google_apis;x86_64'"):
        avd.sdk_folder(EmulatorSettings(sdk=sdk, api_level=33))
    avd.emulator_program(sdk).unlink()
    with pytest.raises(SettingsError, match="sdkmanager emulator"):
        avd.sdk_folder(EmulatorSettings(sdk=sdk))
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    with pytest.raises(SettingsError, match="NNLITE_EMULATOR__SDK"):
        avd.sdk_folder(EmulatorSettings())
