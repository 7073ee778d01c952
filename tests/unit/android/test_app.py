"""The installed app is identified by its hash, whatever path the package manager prints."""

import hashlib
import shlex

import pytest

from nnlite.settings import SettingsError
from nnlite.settings.groups import AndroidSettings
from nnlite_benchmark.android.app.app import App, find_apk


class FakeShell:
    """A shell that supports `pm path`, and `sha256sum` of the path that it printed."""

    serial = "toy"

    def __init__(self, path, sha256):
        self.path = path
        self.sha256 = sha256

    def shell_output(self, command):
        if command.startswith("pm path"):
            return f"WARNING: linker\npackage:{self.path}\npackage:/data/app/split.apk\n"
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
