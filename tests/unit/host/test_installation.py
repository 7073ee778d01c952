"""The command that adds an extra names the checkout or the wheel that nnlite was installed from."""

import json
from importlib.metadata import Distribution

import pytest

from nnlite.host import installation

pytestmark = pytest.mark.fast


class Installed(Distribution):
    """An installation of nnlite 1.2 from `url`."""

    version = "1.2"

    def __init__(self, url=None):
        self.url = url

    def read_text(self, filename):
        assert filename == "direct_url.json"
        return json.dumps({"url": self.url}) if self.url else None

    def locate_file(self, path):
        raise AssertionError(path)


@pytest.fixture
def with_pip(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "find_spec", lambda name: name)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    return tmp_path


def hint_of(monkeypatch, installed):
    monkeypatch.setattr(installation, "distribution", lambda _: installed)
    return installation.install_hint("host")


@pytest.mark.parametrize("name", ["checkout", "a folder/checkout"])
def test_the_hint_names_what_was_installed(name, with_pip, monkeypatch):
    origin = with_pip / name
    origin.parent.mkdir(exist_ok=True)
    origin.touch()
    assert hint_of(monkeypatch, Installed(origin.as_uri())) == f"pip install '{origin}[host]'"


@pytest.mark.parametrize("url", [None, "file:///gone/nnlite-1.2-py3-none-any.whl", "https://host/nnlite.whl"])
def test_without_the_file_the_hint_names_the_wheel(url, with_pip, monkeypatch):
    assert hint_of(monkeypatch, Installed(url)) == "pip install 'nnlite-1.2-py3-none-any.whl[host]'"


def test_the_hint_uses_uv_where_nnlite_is_a_tool_of_uv(with_pip, monkeypatch):
    (with_pip / "uv-receipt.toml").touch()
    assert hint_of(monkeypatch, Installed()).startswith("uv tool install --force 'nnlite-")


def test_the_hint_uses_uv_where_there_is_no_pip(with_pip, monkeypatch):
    monkeypatch.setattr(installation, "find_spec", lambda _: None)
    monkeypatch.setattr("sys.executable", "/env/bin/python")
    assert hint_of(monkeypatch, Installed()).startswith("uv pip install --python /env/bin/python 'nnlite-")
