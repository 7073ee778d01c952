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
    return {found.subject: (found.state, found.message) for found in android_findings(settings)}


def sdk(tmp_path: Path, says: str = KVM, code: int = 0, image: bool = True) -> Path:
    """An SDK whose emulator has one answer."""
    folder = tmp_path / "sdk"
    (folder / "emulator").mkdir(parents=True)
    program = folder / "emulator" / "emulator"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = -accel-check ] || exit 9\nprintf '%s' '{says}'\nexit {code}\n")
    program.chmod(0o755)
    if image:
        (folder / "system-images/android-30/google_apis/x86_64").mkdir(parents=True)
    return folder


def test_a_machine_without_android_lacks_nothing_that_it_needs(tmp_path):
    found = findings(tmp_path)
    assert (
        found["Android SDK"][0] == "note"
        and "NNLITE_EMULATOR__SDK or ANDROID_HOME" in found["Android SDK"][1]
    )
    assert found["benchmark app"][0] == "note" and "`make apk`" in found["benchmark app"][1]
    assert found["adb server"][0] == "ok"
    assert "missing" not in {state for state, _ in found.values()}
    assert "acceleration" not in found


@pytest.mark.process
def test_a_whole_sdk_is_found_by_its_setting(tmp_path):
    found = findings(tmp_path, sdk=sdk(tmp_path))
    assert found["Android SDK"][0] == "ok"
    assert found["acceleration"] == ("ok", "KVM (version 12) is installed and usable.")


@pytest.mark.process
@pytest.mark.parametrize("variable", ["ANDROID_HOME", "ANDROID_SDK_ROOT"])
def test_or_by_the_environment(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, str(sdk(tmp_path)))
    assert findings(tmp_path)["Android SDK"][0] == "ok"
    assert f"({variable})" in findings(tmp_path)["Android SDK"][1]


@pytest.mark.process
def test_what_an_sdk_lacks_is_said_with_what_installs_it(tmp_path):
    says = findings(tmp_path, sdk=sdk(tmp_path, image=False))["Android SDK"]
    assert says[0] == "note"
    assert "no system image (sdkmanager 'system-images;android-30;google_apis;x86_64')" in says[1]


def test_an_sdk_that_was_set_and_is_not_there_is_missing(tmp_path):
    found = findings(tmp_path, sdk=tmp_path / "nowhere")["Android SDK"]
    assert found == ("missing", f"NNLITE_EMULATOR__SDK={tmp_path}/nowhere is no folder")


@pytest.mark.process
def test_no_acceleration_is_a_note_in_the_emulators_words(tmp_path):
    state, says = findings(tmp_path, sdk=sdk(tmp_path, NO_KVM, 8))["acceleration"]
    assert (state, says) == (
        "note",
        "/dev/kvm is not found: VT disabled in BIOS or KVM kernel module not loaded",
    )


@pytest.mark.process
def test_an_emulator_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ACCELERATION_S", 0.2)
    folder = sdk(tmp_path)
    (folder / "emulator" / "emulator").write_text("#!/bin/sh\nexec sleep 3600\n")
    assert "gave no answer within 0.2 s" in findings(tmp_path, sdk=folder)["acceleration"][1]


def test_the_app_is_found_in_the_home_or_where_it_was_set(tmp_path):
    (tmp_path / "home").mkdir()
    apk = tmp_path / "home" / "nnlite-benchmark.apk"
    apk.touch()
    assert findings(tmp_path)["benchmark app"] == ("ok", str(apk))
    elsewhere = AndroidSettings(apk=tmp_path / "other.apk", adb=tmp_path / "adb")
    found = findings(tmp_path, elsewhere)
    assert (found["benchmark app"][0], found["adb"][0]) == ("missing", "missing")


def test_an_adb_server_that_holds_a_phone_is_told_with_its_way_out(tmp_path, monkeypatch):
    seen = [
        AttachedDevice(serial="R58", state="device"),
        AttachedDevice(serial="emulator-5554", state="device"),
        AttachedDevice(serial="10.0.0.7:5555", state="device"),
    ]
    monkeypatch.setattr(module, "attached_devices", lambda port: seen)
    state, says = findings(tmp_path)["adb server"]
    assert state == "note"
    assert "holds R58: a worker cannot own" in says and "kill-server" in says
    monkeypatch.setattr(module, "attached_devices", lambda port: seen[1:])
    assert findings(tmp_path)["adb server"][0] == "ok"
