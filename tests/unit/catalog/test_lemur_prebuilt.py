"""Ready `.tflite` files of LEMUR's models, in a folder for each precision."""

import hashlib
from pathlib import Path

import pytest

from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.model import CatalogError
from nnlite.vocabulary import Layout, ModelFormat
from unit.catalog.copies import trial

FOLDER = "img-classification_cifar-10_acc"


@pytest.fixture
def settings(lemur, make_settings, tmp_path):
    for name in ("ResNet", "VGG", "AlexNet"):
        lemur.trained(name, trial(name, accuracy=0.7))
    return make_settings(lemur.folder(tmp_path / "tree"))


def file(content: str) -> bytes:
    """The beginning of a flatbuffer with TensorFlow Lite's identifier, and something to tell it by."""
    return b"\x1c\0\0\0TFL3" + content.encode().ljust(64, b"\0")


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    files = {
        "fp32/ResNet.tflite": "ResNet",
        "int8/ResNet_int8.tflite": "ResNet in int8",
        f"mixed/{FOLDER}_VGG/model.tflite": "VGG",
        "fp32/Other.tflite": "of no model",
        "fp32/README.md": "",
    }
    for name, content in files.items():
        (tmp_path / "ready" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ready" / name).write_bytes(file(content))
    return tmp_path / "ready"


def test_each_file_is_a_model_of_its_name_with_what_lemur_knows_of_it(settings, ready):
    source = LemurSource(settings, prebuilt=ready)
    models = source.models()
    assert [(model.name, model.skipped) for model in models] == [
        ("ResNet", None), ("ResNet", None), ("VGG", None),
    ]  # fmt: skip
    for model in models:
        content = source.weights_file(model).read_bytes()
        assert model.weights == hashlib.sha256(content).hexdigest()
        assert (model.model_format, model.layout, model.code_sha256) == (
            ModelFormat.PREBUILT, Layout.AS_IS, None,
        )  # fmt: skip
        assert (model.source, model.dataset, model.transform, model.accuracy) == (
            "lemur", "cifar-10", "norm_64", 0.7,
        )  # fmt: skip
        assert source.transform_code(model), "pictures go through it when accuracy is measured"
    assert len({model.identity for model in models}) == 3


def test_a_broken_file_is_listed_with_its_reason(settings, ready):
    (ready / "fp32" / "ResNet.tflite").write_bytes(b"<html>")
    reasons = [model.skipped for model in LemurSource(settings, prebuilt=ready).models() if model.skipped]
    assert len(reasons) == 1 and reasons[0].startswith("broken: ") and "ResNet.tflite" in reasons[0]


def test_a_link_out_of_the_tree_is_not_followed(settings, ready, tmp_path):
    (tmp_path / "elsewhere.tflite").write_bytes(file("elsewhere"))
    (ready / "fp32" / "AlexNet.tflite").symlink_to(tmp_path / "elsewhere.tflite")
    (alexnet,) = [each for each in LemurSource(settings, prebuilt=ready).models() if each.name == "AlexNet"]
    assert "leads out of" in alexnet.skipped


def test_a_file_that_changed_since_it_was_listed_is_not_taken(settings, ready):
    source = LemurSource(settings, prebuilt=ready)
    first = source.models()[0]
    source.weights_file(first).write_bytes(file("another"))
    with pytest.raises(CatalogError, match="has changed since it was listed"):
        source.weights_file(first)


def test_what_has_no_ready_files_is_an_error_that_names_it(settings, tmp_path):
    with pytest.raises(CatalogError, match=r"--prebuilt .*gone is no folder"):
        LemurSource(settings, prebuilt=tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match=r"has the name of a model: 0 files \*\.tflite"):
        LemurSource(settings, prebuilt=tmp_path / "empty").models()


def test_ready_files_and_weights_exclude_each_other(settings, ready):
    with pytest.raises(CatalogError, match="omit --weights or --prebuilt"):
        LemurSource(settings, prebuilt=ready, weights=ready)
