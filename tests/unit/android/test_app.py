"""What is installed is found by its hash, whatever path the package manager names."""

import hashlib
import shlex

import pytest

from nnlite.settings import SettingsError
from nnlite.settings.groups import AndroidSettings
from nnlite_benchmark.android.app.app import App, find_apk


class Asked:
    """A shell that answers `pm path`, and the hash of the one path that it named."""

    serial = "toy"

    def __init__(self, path, sha256):
        self.path = path
        self.sha256 = sha256

    def ask(self, command):
        if command.startswith("pm path"):
            return f"WARNING: linker\npackage:{self.path}\npackage:/data/app/split.apk\n"
        assert shlex.split(command) == ["sha256sum", self.path]
        return f"{self.sha256}  {self.path}\n"


@pytest.mark.parametrize("path", ["/data/app/~~x==/base.apk", "/data/app/it's; reboot; '$(x)/base.apk"])
def test_the_very_same_package_is_not_installed_again(tmp_path, path):
    apk = tmp_path / "app.apk"
    apk.write_bytes(b"an app")
    shell = Asked(path, hashlib.sha256(b"an app").hexdigest())
    App(shell, apk, AndroidSettings()).ensure_installed()


def test_a_missing_package_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(SettingsError, match="make apk"):
        find_apk(AndroidSettings(), tmp_path)
