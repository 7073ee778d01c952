"""LEMUR as a source of models, from a folder, a wheel and a SQLite file."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.model import CatalogError, text_sha256
from unit.catalog.copies import MODEL, NORM_64, Lemur, trial
from waiting import HANG_S

KINDS = ("folder", "wheel", "sqlite")


def write(lemur: Lemur, kind: str, folder: Path) -> Path:
    path = folder / {"folder": "tree", "wheel": "nn_dataset.whl", "sqlite": "ab.nn.db"}[kind]
    return getattr(lemur, kind)(path)


def only(source: LemurSource, name: str):
    return next(model for model in source.models() if model.name == name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_is_listed_with_its_fastest_trial(kind, lemur, make_settings, tmp_path):
    lemur.trained("ResNet", trial("slow", duration=9), trial("fast", duration=1, lr=0.5))
    source = LemurSource(make_settings(write(lemur, kind, tmp_path)))
    model = only(source, "ResNet")
    assert model.configuration_source == "trial:fast"
    assert model.hyperparameters == {"batch": 32, "lr": 0.5, "momentum": 1.0, "transform": "norm_64"}
    assert (model.task, model.dataset, model.metric) == ("img-classification", "cifar-10", "acc")
    assert (model.input_shape, model.input_dtype, model.classes) == ((1, 3, 64, 64), "float32", 10)
    assert model.accuracy == 0.5
    assert model.skipped is None
    assert text_sha256(source.code(model)) == model.code_sha256
    assert source.transform_code(model) == NORM_64


def test_every_kind_of_copy_gives_the_same_identities(lemur, make_settings, tmp_path):
    lemur.trained("windows", trial("a"), code=MODEL.replace("\n", "\r\n"))
    lemur.trained("other", trial("b", dropout=0.0, epoch=3))
    # A second epoch repeats uid and values, which SQLite's `prm` then holds twice.
    lemur.trials["img-classification_cifar-10_acc_other", 2] = [trial("b", dropout=0.0, epoch=3)]
    listings = [
        {model.name: model.identity for model in LemurSource(make_settings(path)).models()}
        for path in (write(lemur, kind, tmp_path) for kind in KINDS)
    ]
    assert listings[0] == listings[1] == listings[2]
    assert len(set(listings[0].values())) == 2


def test_a_model_without_trials_is_configured_like_its_siblings(lemur, make_settings, tmp_path):
    lemur.trained("ga-1", trial("a"), on="mnist").untrained("ga-2")
    model = only(LemurSource(make_settings(lemur.folder(tmp_path / "tree"))), "ga-2")
    assert model.configuration_source == "default"
    assert (model.dataset, model.transform, model.input_shape) == ("mnist", "norm_64", (1, 1, 64, 64))
    assert model.hyperparameters == {
        "lr": 0.01,
        "momentum": 0.9,
        "dropout": 0.2,
        "batch": 1,
        "transform": "norm_64",
    }


@pytest.mark.parametrize("kind", ["folder", "wheel"])
def test_task_and_dataset_of_a_model_without_trials_come_from_mobile_results(
    kind, lemur, make_settings, tmp_path
):
    lemur.untrained("unq-1").untrained("unq-2").trained("ResNet", trial("a"))
    lemur.runs["int8", "img-classification_cifar-100_acc_unq-1"] = "norm_64"
    lemur.runs["fp32", "img-classification_mnist_acc_ResNet"] = "norm_64"
    source = LemurSource(make_settings(write(lemur, kind, tmp_path)))
    model = only(source, "unq-1")
    assert (model.dataset, model.classes, model.input_shape) == ("cifar-100", 100, (1, 3, 64, 64))
    assert model.configuration_source == "default"
    assert only(source, "ResNet").dataset == "cifar-10", "its own trials come first"
    assert only(source, "unq-2").dataset == "cifar-10", "what is usual is derived from trials"


def test_a_tree_of_mobile_results_alone_is_enough(lemur, make_settings, tmp_path):
    lemur.untrained("unq-1").untrained("unq-2")
    lemur.runs["fp32", "img-classification_cifar-10_acc_unq-1"] = "norm_64"
    source = LemurSource(make_settings(lemur.folder(tmp_path / "tree")))
    assert only(source, "unq-1").skipped is None
    assert only(source, "unq-2").skipped.startswith("no statistics")
    (tmp_path / "tree/ab/nn/stat/run/tflite/fp32/all_models.json").write_text("[]")
    assert only(LemurSource(source._settings), "unq-1").skipped.startswith("no statistics")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "does not parse: "),
        ("empty", "no class Net"),
        ("talker", "task txt-image: "),
        ("stranger", "unknown dataset: "),
        ("lost", "transform missing: "),
    ],
)
def test_an_unsupported_model_is_skipped_with_a_reason(name, reason, lemur, make_settings, tmp_path):
    lemur.trained("broken", trial("a"), code="class Net(:").trained("empty", trial("b"), code="")
    lemur.trained("stranger", trial("c"), on="holiday-photos").trained("lost", trial("d", transform="gone"))
    lemur.models["talker"] = MODEL
    lemur.trials["txt-image_coco_clip_talker", 1] = [trial("e")]
    model = only(LemurSource(make_settings(lemur.folder(tmp_path / "tree"))), name)
    assert model.skipped.startswith(reason)


def test_an_unknown_transform_leaves_the_shape_to_the_conversion(lemur, make_settings, tmp_path):
    lemur.transforms["norm_64"] = NORM_64.replace("64", "65")
    model = only(
        LemurSource(make_settings(lemur.trained("net", trial("a")).folder(tmp_path / "tree"))), "net"
    )
    assert (model.input_shape, model.skipped) == (None, None)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_input_side": 63}, "input too large: "), ({"exclude": ("*64", "n?t")}, "excluded by name: n?t")],
)
def test_limits_come_from_the_settings(limits, reason, lemur, make_settings, tmp_path):
    path = lemur.trained("net", trial("a")).folder(tmp_path / "tree")
    assert only(LemurSource(make_settings(path)), "net").skipped is None
    assert only(LemurSource(make_settings(path, **limits)), "net").skipped.startswith(reason)


def test_a_dataset_can_be_selected(lemur, make_settings, tmp_path):
    lemur.trained("both", trial("a", duration=1)).trained("one", trial("c")).untrained("none")
    lemur.trials["img-classification_mnist_acc_both", 1] = [trial("b", duration=2)]
    settings = make_settings(lemur.folder(tmp_path / "tree"))
    rows = {model.name: model for model in LemurSource(settings, dataset="mnist").models()}
    assert rows["both"].configuration_source == "trial:b"
    assert rows["one"].skipped == "no such trial: it was never trained with dataset mnist"
    assert (rows["none"].dataset, rows["none"].skipped) == ("mnist", None)
    assert only(LemurSource(settings), "both").configuration_source == "trial:a"


def test_the_error_for_an_unknown_transform_names_similar_ones(lemur, make_settings, tmp_path):
    settings = make_settings(lemur.trained("net", trial("a")).folder(tmp_path / "tree"))
    with pytest.raises(CatalogError, match="no transform norm64; did you mean norm_64"):
        LemurSource(settings, transform="norm64").models()


def test_one_broken_statistics_file_costs_only_its_trials(lemur, make_settings, tmp_path, caplog):
    lemur.trained("net", trial("a")).trained("other", trial("b"))
    tree = lemur.folder(tmp_path / "tree")
    broken = tree / "ab/nn/stat/train/img-classification_cifar-10_acc_net/1.json"
    broken.write_text('[{"uid": "a"')
    rows = {model.name: model for model in LemurSource(make_settings(tree)).models()}
    assert rows["net"].configuration_source == "default"
    assert rows["other"].configuration_source == "trial:b"
    assert "img-classification_cifar-10_acc_net/1.json" in caplog.text


def test_nothing_of_lemur_is_imported(lemur, make_settings, tmp_path, monkeypatch):
    tree = lemur.trained("net", trial("a")).folder(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(tree))
    source = LemurSource(make_settings(None))  # found as an installed package
    source.code(only(source, "net"))
    assert source.archive.path == tree
    assert not [name for name in sys.modules if name == "ab" or name.startswith("ab.")]


@pytest.mark.process
def test_without_lemur_the_error_names_the_command_that_fetches_it(make_settings, tmp_path):
    program = Path(__file__).parent / "programs" / "list_without_lemur.py"
    result = subprocess.run(
        [sys.executable, program, tmp_path], capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert "LemurMissingError: LEMUR is not on this machine" in result.stderr
    assert "nnlite fetch" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "NNLITE_LEMUR=.*No such file"),
        (b"nothing known", "neither a wheel nor a SQLite file"),
        (b"SQLite format 3\0cut short", "not a LEMUR database"),
    ],
)
def test_a_path_that_is_not_lemur_is_named_in_the_error(content, message, make_settings, tmp_path):
    path = tmp_path / "lemur"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CatalogError, match=message):
        LemurSource(make_settings(path)).models()


def test_a_folder_or_wheel_without_models_is_named_in_the_error(lemur, make_settings, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match="it has no folder ab/nn/nn"):
        LemurSource(make_settings(tmp_path / "empty")).models()
    with pytest.raises(CatalogError, match="holds no models"):
        LemurSource(make_settings(lemur.wheel(tmp_path / "empty.whl"))).models()


@pytest.mark.parametrize("kind", ["folder", "wheel"])
def test_an_edited_model_is_listed_again_and_its_old_listing_gives_no_code(
    kind, lemur, make_settings, tmp_path
):
    path = write(lemur.trained("net", trial("a")), kind, tmp_path)
    settings = make_settings(path)
    before = only(LemurSource(settings), "net")
    lemur.models["net"] = MODEL + "# edited\n"
    write(lemur, kind, tmp_path)
    source = LemurSource(settings)
    with pytest.raises(CatalogError, match="model net was edited since it was listed"):
        source.code(before)
    after = only(source, "net")
    assert after.code_sha256 != before.code_sha256
    assert source.code(after).endswith("# edited\n")


def test_new_trials_are_listed(lemur, make_settings, tmp_path):
    settings = make_settings(lemur.trained("net", trial("a")).folder(tmp_path / "tree"))
    LemurSource(settings).models()
    lemur.trained("net", trial("a"), trial("b", duration=1)).folder(tmp_path / "tree")
    assert only(LemurSource(settings), "net").configuration_source == "trial:b"


def the_cache(settings) -> Path:
    (file,) = (settings.home / "cache").iterdir()
    return file


def test_a_second_listing_comes_from_the_cache(lemur, make_settings, tmp_path):
    tree = lemur.trained("net", trial("a"), on="mnist").folder(tmp_path / "tree")
    settings = make_settings(tree)
    first = LemurSource(settings).models()
    _, _, payload = the_cache(settings).read_bytes().partition(b"\n")
    assert [model.name for model in first] == [row[0] for row in orjson.loads(payload)]
    # The statistics can no longer be read, but look unchanged: only the cache can still know them.
    file = tree / "ab/nn/stat/train/img-classification_mnist_acc_net/1.json"
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert LemurSource(settings).models() == first


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-10], lambda data: data.replace(b"norm_64", b"norm_32")]
)
def test_a_damaged_cache_is_rebuilt(damage, lemur, make_settings, tmp_path):
    settings = make_settings(lemur.trained("net", trial("a")).folder(tmp_path / "tree"))
    first = LemurSource(settings).models()
    whole = the_cache(settings).read_bytes()
    the_cache(settings).write_bytes(damage(whole))
    assert LemurSource(settings).models() == first
    assert the_cache(settings).read_bytes() == whole


def test_limits_are_not_cached(lemur, make_settings, tmp_path):
    path = lemur.trained("net", trial("a")).folder(tmp_path / "tree")
    assert only(LemurSource(make_settings(path, exclude=("net",))), "net").skipped
    assert only(LemurSource(make_settings(path)), "net").skipped is None


def test_models_are_listed_although_the_cache_cannot_be_written(lemur, make_settings, tmp_path, caplog):
    settings = make_settings(lemur.trained("net", trial("a")).folder(tmp_path / "tree"))
    settings.home.write_text("a file where the folder should be")
    assert only(LemurSource(settings), "net").name == "net"
    assert "cannot be cached" in caplog.text


def test_identity_follows_configuration_and_code_but_not_what_was_measured(lemur, make_settings, tmp_path):
    tree = lemur.trained("net", trial("a")).folder(tmp_path / "tree")
    model = only(LemurSource(make_settings(tree)), "net")
    assert replace(model, accuracy=0.1, configuration_source="trial:z").identity == model.identity
    for change in ({"hyperparameters": {}}, {"dataset": "mnist"}, {"code_sha256": "0"}, {"classes": 3}):
        assert replace(model, **change).identity != model.identity
