"""Doctor on Android: what is there, what is not, and what to do about it."""

import socket
from pathlib import Path

import pytest

from nnlite.diagnostics import android as module
from nnlite.diagnostics.android import android_findings
from nnlite.host.adb_services import AttachedDevice
from nnlite.settings import Settings
from nnlite.settings.groups import AndroidSettings, EmulatorSettings

KVM = "accel:\n0\nKVM (version 12) is installed and usable.\naccel\n"
NO_KVM = "accel:\n8\n/dev/kvm is not found: VT disabled in BIOS or KVM kernel module not loaded\naccel\n"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    """No SDK in the environment, and no adb server."""
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(probe.getsockname()[1]))


def findings(tmp_path: Path, android: AndroidSettings | None = None, **emulator: object) -> dict[str, tuple]:
    settings = Settings(
        home=tmp_path / "home",
        android=android or AndroidSettings(),
        emulator=EmulatorSettings(**emulator),
        _env_file=None,
    )
    return {finding.subject: (finding.state, finding.message) for finding in android_findings(settings)}


def sdk(tmp_path: Path, text: str = KVM, code: int = 0, image: bool = True) -> Path:
    """An SDK whose emulator has one answer."""
    folder = tmp_path / "sdk"
    (folder / "emulator").mkdir(parents=True)
    program = folder / "emulator" / "emulator"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = -accel-check ] || exit 9\nprintf '%s' '{text}'\nexit {code}\n")
    program.chmod(0o755)
    if image:
        (folder / "system-images/android-30/google_apis/x86_64").mkdir(parents=True)
    return folder


def test_without_an_android_sdk_nothing_is_reported_as_missing(tmp_path):
    by_subject = findings(tmp_path)
    assert (
        by_subject["Android SDK"][0] == "note"
        and "NNLITE_EMULATOR__SDK or ANDROID_HOME" in by_subject["Android SDK"][1]
    )
    assert by_subject["benchmark app"][0] == "note" and "`make apk`" in by_subject["benchmark app"][1]
    assert by_subject["adb server"][0] == "ok"
    assert "missing" not in {state for state, _ in by_subject.values()}
    assert "acceleration" not in by_subject


@pytest.mark.process
def test_a_complete_sdk_is_found_by_the_setting(tmp_path):
    by_subject = findings(tmp_path, sdk=sdk(tmp_path))
    assert by_subject["Android SDK"][0] == "ok"
    assert by_subject["acceleration"] == ("ok", "KVM (version 12) is installed and usable.")


@pytest.mark.process
@pytest.mark.parametrize("variable", ["ANDROID_HOME", "ANDROID_SDK_ROOT"])
def test_a_complete_sdk_is_found_by_the_environment(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, str(sdk(tmp_path)))
    assert findings(tmp_path)["Android SDK"][0] == "ok"
    assert f"({variable})" in findings(tmp_path)["Android SDK"][1]


@pytest.mark.process
def test_a_missing_sdk_package_is_reported_with_the_command_that_installs_it(tmp_path):
    finding = findings(tmp_path, sdk=sdk(tmp_path, image=False))["Android SDK"]
    assert finding[0] == "note"
    assert "no system image (sdkmanager 'system-images;android-30;google_apis;x86_64')" in finding[1]


def test_an_sdk_setting_without_a_folder_is_reported_as_missing(tmp_path):
    finding = findings(tmp_path, sdk=tmp_path / "nowhere")["Android SDK"]
    assert finding == ("missing", f"NNLITE_EMULATOR__SDK={tmp_path}/nowhere is no folder")


@pytest.mark.process
def test_missing_acceleration_is_a_note_with_the_emulators_message(tmp_path):
    state, message = findings(tmp_path, sdk=sdk(tmp_path, NO_KVM, 8))["acceleration"]
    assert (state, message) == (
        "note",
        "/dev/kvm is not found: VT disabled in BIOS or KVM kernel module not loaded",
    )


@pytest.mark.process
def test_a_hanging_emulator_is_ended_at_a_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ACCELERATION_S", 0.2)
    folder = sdk(tmp_path)
    (folder / "emulator" / "emulator").write_text("#!/bin/sh\nexec sleep 3600\n")
    assert "gave no answer within 0.2 s" in findings(tmp_path, sdk=folder)["acceleration"][1]


def test_the_app_is_found_in_the_home_or_by_the_setting(tmp_path):
    (tmp_path / "home").mkdir()
    apk = tmp_path / "home" / "nnlite-benchmark.apk"
    apk.touch()
    assert findings(tmp_path)["benchmark app"] == ("ok", str(apk))
    elsewhere = AndroidSettings(apk=tmp_path / "other.apk", adb=tmp_path / "adb")
    by_subject = findings(tmp_path, elsewhere)
    assert (by_subject["benchmark app"][0], by_subject["adb"][0]) == ("missing", "missing")


def test_an_adb_server_that_holds_a_phone_is_reported_with_a_hint(tmp_path, monkeypatch):
    devices = [
        AttachedDevice(serial="R58", state="device"),
        AttachedDevice(serial="emulator-5554", state="device"),
        AttachedDevice(serial="10.0.0.7:5555", state="device"),
    ]
    monkeypatch.setattr(module, "attached_devices", lambda port: devices)
    state, message = findings(tmp_path)["adb server"]
    assert state == "note"
    assert "holds R58: a worker cannot own" in message and "kill-server" in message
    monkeypatch.setattr(module, "attached_devices", lambda port: devices[1:])
    assert findings(tmp_path)["adb server"][0] == "ok"
