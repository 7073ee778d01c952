"""Trained weights of LEMUR's models, from a folder or a zip file."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.model import CatalogError
from unit.catalog.copies import trial

WEIGHTS = {"ResNet.pth": b"of ResNet", "VGG/best_model.pth": b"of VGG", "README.md": b"", "Other.pth": b"x"}


@pytest.fixture
def settings(lemur, make_settings, tmp_path):
    for name in ("ResNet", "VGG", "AlexNet"):
        lemur.trained(name, trial(name))
    return make_settings(lemur.folder(tmp_path / "tree"))


def folder(path: Path) -> Path:
    for name, content in WEIGHTS.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def packed(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in WEIGHTS.items():
            archive.writestr(f"mirror/{name}", content)
    return path


@pytest.mark.parametrize("make", [folder, packed])
def test_models_with_weights_are_listed_with_them(make, settings, tmp_path):
    source = LemurSource(settings, weights=make(tmp_path / "weights"))
    models = {model.name: model for model in source.models()}
    drawn = {model.name: model for model in LemurSource(settings).models()}
    assert list(models) == ["ResNet", "VGG"]
    for name, content in (("ResNet", b"of ResNet"), ("VGG", b"of VGG")):
        model = models[name]
        assert (model.weights, model.weights_suffix) == (hashlib.sha256(content).hexdigest(), ".pth")
        assert source.weights_file(model).read_bytes() == content
        assert model.identity != drawn[name].identity, "weights are part of it"
    assert drawn["ResNet"].weights_suffix is None


def test_weights_that_change_are_another_model_and_are_not_taken_for_the_listed_one(settings, tmp_path):
    path = folder(tmp_path / "weights")
    source = LemurSource(settings, weights=path)
    before = source.models()[0]
    (path / "ResNet.pth").write_bytes(b"trained for longer")
    with pytest.raises(CatalogError, match="has changed since it was listed"):
        source.weights_file(before)
    assert LemurSource(settings, weights=path).models()[0].identity != before.identity


def test_hashes_are_kept(settings, tmp_path, monkeypatch):
    path = folder(tmp_path / "weights")
    first = LemurSource(settings, weights=path).models()
    monkeypatch.setattr("nnlite.catalog.lemur.checkpoints.file_sha256", lambda _: "hashed again")
    assert LemurSource(settings, weights=path).models() == first


def test_what_has_no_weights_is_an_error_that_names_it(settings, tmp_path):
    with pytest.raises(
        CatalogError, match=r"--weights .*gone is neither a folder nor a zip file: No such file or directory$"
    ):
        LemurSource(settings, weights=tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match="has the name of a model: 0 files"):
        LemurSource(settings, weights=tmp_path / "empty").models()
    with pytest.raises(CatalogError, match="has no weights file"):
        LemurSource(settings).weights_file(LemurSource(settings).models()[0])
