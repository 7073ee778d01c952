"""The installed app is identified by its hash, whatever path the package manager prints."""

import hashlib
import shlex
import zipfile

import pytest

from nnlite.settings import SettingsError
from nnlite.settings.groups import AndroidSettings
from nnlite.vocabulary import Fault, Stage
from nnlite_benchmark.android.app.app import App, find_apk
from nnlite_benchmark.device import DeviceFailure
from unit.android.test_page_size import elf


class FakeShell:
    """A shell that supports `pm path`, and `sha256sum` of the path that it printed."""

    serial = "toy"
    stage = Stage.PREPARE

    def __init__(self, path, sha256):
        self.path = path
        self.sha256 = sha256

    def shell_output(self, command):
        if command.startswith("pm path"):
            return f"WARNING: linker\npackage:{self.path}\npackage:/data/app/split.apk\n"
        if command.startswith("getconf"):
            return "\n"
        assert shlex.split(command) == ["sha256sum", self.path]
        return f"{self.sha256}  {self.path}\n"


@pytest.mark.parametrize("path", ["/data/app/~~x==/base.apk", "/data/app/it's; reboot; '$(x)/base.apk"])
def test_an_installed_app_with_the_same_hash_is_not_reinstalled(tmp_path, path):
    apk = tmp_path / "app.apk"
    apk.write_bytes(b"an app")
    shell = FakeShell(path, hashlib.sha256(b"an app").hexdigest())
    App(shell, apk, AndroidSettings()).ensure_installed()


def test_a_missing_apk_raises_an_error_with_a_hint(tmp_path):
    with pytest.raises(SettingsError, match="make apk"):
        find_apk(AndroidSettings(), tmp_path)


def test_a_device_with_larger_pages_than_the_libraries_waits_for_another_app(tmp_path):
    apk = tmp_path / "app.apk"
    with zipfile.ZipFile(apk, "w") as package:
        package.writestr("lib/arm64-v8a/libtensorflowlite_jni.so", elf(4096))
    shell = FakeShell("", "")
    shell.shell_output = lambda _command: "16384\narm64-v8a\n"

    with pytest.raises(DeviceFailure) as raised:
        App(shell, apk, AndroidSettings()).ensure_installed()

    assert raised.value.fault is Fault.OWNER_NEEDED
    assert (
        "memory pages are 16 kB, and libtensorflowlite_jni.so (arm64-v8a) is built for 4 kB"
        in raised.value.reason
    )
