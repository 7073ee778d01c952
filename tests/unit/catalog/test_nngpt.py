"""NN-GPT's output tree as a source of models."""

import json
import os
import shutil

import pytest

from generated import Tree, net
from nnlite.catalog.files.source import FilesSource
from nnlite.catalog.model import CatalogError, text_sha256
from nnlite.catalog.nngpt.source import NnGptSource, tag_of
from nnlite.host.files import file_sha256
from unit.catalog.copies import NORM_64


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "lab")


@pytest.fixture
def listed(tree, make_settings):
    """The models of the tree by tag."""

    def look(**settings):
        source = NnGptSource(make_settings(tree.root / "no-lemur", **settings), path=[tree.root])
        return {tag_of(model.name): model for model in source.models()}

    return look


@pytest.fixture
def growing(tree, make_settings) -> NnGptSource:
    tree.epochs.mkdir(parents=True)
    return NnGptSource(make_settings(None, settle_s=0), path=[tree.root])


def test_an_evaluated_model_has_its_code_its_hyperparameters_and_its_accuracy(tree, make_settings):
    tree.model("A0_B3", accuracy=0.8125)
    source = NnGptSource(make_settings(None), path=[tree.root])
    (model,) = source.models()
    assert source.code(model) == net("A0_B3")
    assert model.name == f"A0_B3-{text_sha256(net('A0_B3'))[:8]}"
    assert (model.task, model.dataset, model.metric) == ("img-classification", "cifar-10", "acc")
    assert (model.transform, model.input_shape, model.classes) == ("norm_256_flip", (1, 3, 256, 256), 10)
    assert model.hyperparameters["batch"] == 16
    assert (model.accuracy, model.configuration_source, model.skipped) == (0.8125, "hp.txt", None)


@pytest.mark.parametrize("part", ["", "out", "out/nngpt", "out/nngpt/llm/epoch"])
def test_any_folder_of_the_tree_is_accepted_as_its_path(part, tree, make_settings):
    tree.model("A0_B0")
    source = NnGptSource(make_settings(None), path=[tree.root / part])
    assert [tag_of(model.name) for model in source.models()] == ["A0_B0"]


def test_models_are_sorted_by_number_not_alphabetically(tree, listed):
    for tag in ("A10_B0", "A2_B11", "A2_B9"):
        tree.model(tag)
    assert list(listed()) == ["A2_B9", "A2_B11", "A10_B0"]


def test_task_and_dataset_come_from_the_evaluations_record(tree, listed):
    tree.generate("A0_B0")
    tree.evaluate("A0_B0", dataset="cifar-100", transform="norm_64")
    model = listed()["A0_B0"]
    assert (model.dataset, model.classes, model.input_shape) == ("cifar-100", 100, (1, 3, 64, 64))


def test_the_models_own_transform_is_used(tree, make_settings):
    tree.model("A0_B0")
    (tree.folder("A0_B0") / "tr.py").write_text(NORM_64)
    source = NnGptSource(make_settings(None), path=[tree.root])
    (model,) = source.models()
    assert model.input_shape == (1, 3, 64, 64)
    assert source.transform_code(model) == NORM_64


@pytest.mark.parametrize(
    ("written", "accuracy"),
    [
        ({"1.json": [{"accuracy": 0.1}, {"accuracy": 0.4}, {"other": 1}]}, 0.4),
        ({"1.json": [], "eval_info.json": {"accuracy": 0.2}}, 0.2),
        ({"eval_info.json": {"eval_results": {"acc": "0.3"}}}, 0.3),
        ({"eval_info.json": {"epochs": [{"accuracy": 0.1}, {"acc": 0.6}]}}, 0.6),
        ({"eval_info.json": {"eval_results": {"epochs": [{"accuracy": 0.7}]}}}, 0.7),
    ],
)
def test_the_accuracy_is_the_one_that_the_edge_scorer_reads(written, accuracy, tree, listed):
    folder = tree.generate("A0_B0")
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))
    assert listed()["A0_B0"].accuracy == accuracy


def _write(name: str, content: bytes | str):
    def write(tree: Tree) -> None:
        folder = tree.model("A0_B1")
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def _link(tree: Tree) -> None:
    secret = tree.root.parent / "secret.py"
    secret.write_text(net("secret"))
    folder = tree.model("A0_B1")
    (folder / "new_nn.py").unlink()
    (folder / "new_nn.py").symlink_to(secret)


def _pipe(tree: Tree) -> None:
    folder = tree.model("A0_B1")
    (folder / "hp.txt").unlink()
    os.mkfifo(folder / "hp.txt")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda tree: tree.folder("A0_B1"), "incomplete: no new_nn.py"),
        (lambda tree: tree.generate("A0_B1"), "incomplete: not evaluated yet"),
        (_write("new_nn.py", ""), "incomplete: new_nn.py is empty"),
        (lambda tree: tree.reject("A0_B1"), "rejected: too similar to A0_B0"),
        (
            lambda tree: (tree.generate("A0_B1") / "error.txt").write_text("out of memory\nTraceback"),
            "evaluation failed: out of memory",
        ),
        (_write("new_nn.py", "class Net(:"), "broken: new_nn.py does not parse"),
        (_write("new_nn.py", b"class Net: pass # \xff"), "broken: new_nn.py is not UTF-8 text"),
        (_write("new_nn.py", "#" * (4 * 1024 * 1024 + 1)), "broken: new_nn.py is larger than"),
        (_write("hp.txt", "lr: 0.1"), "broken: hp.txt is not usable JSON"),
        (_write("hp.txt", '{"lr": 1e999}'), "broken: hp.txt is not usable JSON"),
        (_write("hp.txt", '{"lr": "\\u0000"}'), "broken: hp.txt is not usable JSON"),
        (_write("hp.txt", "[" * 100_000), "broken: hp.txt is not usable JSON"),
        (_write("hp.txt", "[1]"), "broken: hp.txt is not a JSON object"),
        (_write("hp.txt", '{"transform": "../../x"}'), "broken: transform '../../x' is not a valid name"),
        (_write("hp.txt", '{"transform": "own"}'), "transform missing: own is none of LEMUR's"),
        (_write("hp.txt", '{"dataset": "own"}'), "unknown dataset"),
        (_write("tr.py", "x = 1"), "broken: tr.py defines no function transform"),
        (_write("1.json", '[{"accuracy": 87.5}]'), None),
        (_write("eval_info.json", '{"accuracy": NaN}'), "broken: eval_info.json is not usable JSON: NaN"),
        (_link, "broken: new_nn.py leads out of"),
        (_pipe, "broken: hp.txt is not a regular file"),
    ],
)
def test_an_unusable_model_is_skipped_with_a_reason_and_the_others_are_listed(write, reason, tree, listed):
    tree.model("A0_B0")
    write(tree)
    models = listed()
    assert models["A0_B0"].skipped is None
    skipped = models["A0_B1"].skipped
    assert skipped is None if reason is None else skipped.startswith(reason)


@pytest.mark.parametrize("accuracy", ["NaN", "-0.1", "87.5", '"much"', "true"])
def test_an_invalid_accuracy_is_reported(accuracy, tree, listed):
    (tree.generate("A0_B0") / "1.json").write_text(f'[{{"accuracy": {accuracy}}}]')
    assert listed()["A0_B0"].skipped.startswith("broken: ")


def test_the_error_for_a_tree_without_models_names_the_searched_folder(tree, make_settings):
    tree.epochs.mkdir(parents=True)
    with pytest.raises(CatalogError, match=r"no model of NN-GPT below .*epoch: .*--follow"):
        NnGptSource(make_settings(None), path=[tree.root]).models()


@pytest.mark.parametrize("paths", [[], ["/a", "/b"]])
def test_exactly_one_tree_is_required(paths, make_settings):
    with pytest.raises(CatalogError, match="--path FOLDER"):
        NnGptSource(make_settings(None), path=paths)


def test_a_followed_model_appears_when_its_evaluation_has_ended(growing, tree):
    tree.generate("A0_B0")
    assert growing.grown() == ([], 1)
    tree.evaluate("A0_B0")
    models, waiting = growing.grown()
    assert ([tag_of(model.name) for model in models], waiting) == (["A0_B0"], 0)


def test_a_half_written_evaluation_is_read_again_later(tree, make_settings):
    source = NnGptSource(make_settings(None, settle_s=3600), path=[tree.model("A0_B0").parents[2]])
    (tree.folder("A0_B0") / "eval_info.json").write_text('{"eval_results": {"accu')
    tree.reject("A0_B1")
    assert source.grown() == ([], 2)


def test_code_is_kept_when_the_models_folder_is_removed(growing, tree):
    tree.model("A0_B0")
    ((model,), _) = growing.grown()
    shutil.rmtree(tree.epochs)
    assert growing.grown() == ([], 0)
    assert growing.code(model) == net("A0_B0")


def test_a_rewritten_folder_is_a_new_model(growing, tree):
    tree.model("A0_B0")
    ((first,), _) = growing.grown()
    shutil.rmtree(tree.epochs)
    tree.model("A0_B0", code=net("the next run"))
    ((second,), _) = growing.grown()
    assert tag_of(first.name) == tag_of(second.name)
    assert first.name != second.name
    assert first.identity != second.identity


def test_prebuilt_files_are_measured_unchanged_with_the_accuracy_of_their_model(tree, make_settings):
    tree.model("A0_B10", accuracy=0.75)
    for tag in ("A0_B10", "A0_B9"):
        tree.ready(tag)
    (tree.ready("A0_B11")).write_bytes(b"no model")
    (tree.ready("A0_B12")).unlink()
    source = NnGptSource(make_settings(None), path=[tree.root / "out" / "edge" / "tflite"])
    unknown, known, broken = source.models()
    assert [tag_of(model.name) for model in (unknown, known, broken)] == ["A0_B9", "A0_B10", "A0_B11"]
    assert (known.model_format, known.accuracy, known.code_sha256, known.skipped) == (
        "prebuilt",
        0.75,
        None,
        None,
    )
    assert file_sha256(source.weights_file(known)) == known.weights
    assert unknown.accuracy is None
    assert broken.skipped.startswith("broken: ")


def test_a_prebuilt_file_has_the_same_identity_from_every_source(tree, make_settings):
    file = tree.ready("A0_B0")
    (mine,) = NnGptSource(make_settings(None), path=[file.parent]).models()
    (theirs,) = FilesSource(make_settings(None), path=(file,)).models()
    assert mine.identity == theirs.identity


def test_models_are_found_wherever_a_pipeline_writes_them(tree, make_settings):
    whole = tree.model("A0_B0")
    for place in (
        "out/nngpt/llm/epoch/A0/synth_pr_only/PR_3",
        "out/nngpt/llm/epoch/A12/synth_pr_only/PR_11",
        "cycle_1/nneval/gen_2",
        "out/nngpt/cycle_2/nneval/gen_10",
        "out/rl/cycle_0/nneval/gen_0",
    ):
        shutil.copytree(whole, tree.root / place)
    single = tree.root / "out" / "nngpt" / "generated_models"
    single.mkdir()
    (single / "model_iter_7.py").write_text(net("seven"))
    (single / "model_iter_10.py").write_text("nothing = 0")
    (single / "notes.py").write_text(net("none"))
    models = {
        m.name.rpartition("-")[0]: m for m in NnGptSource(make_settings(None), path=[tree.root]).models()
    }
    assert list(models) == [
        "A0_B0", "A0_PR_3", "A12_PR_11", "cycle_1_gen_2", "cycle_2_gen_10", "cycle_0_gen_0",
        "model_iter_7", "model_iter_10",
    ]  # fmt: skip
    assert models["cycle_1_gen_2"].accuracy == 0.5
    assert models["model_iter_7"].skipped is None
    assert models["model_iter_7"].input_shape == (1, 3, 256, 256)
    assert models["model_iter_10"].skipped == "broken: model_iter_10.py no class Net"


def test_single_files_are_followed(growing, tree):
    folder = tree.root / "generated_models"
    folder.mkdir()
    (folder / "model_iter_0.py").write_text(net("zero"))
    (model,), waiting = growing.grown()
    assert (model.name.rpartition("-")[0], waiting) == ("model_iter_0", 0)


@pytest.mark.parametrize("noted", [["A0_B0", 0.75, 1.5, 0.9], {"accuracy": 0.75}])
def test_both_forms_of_the_evaluation_are_read(noted, tree, listed):
    folder = tree.generate("A0_B0")
    (folder / "eval_info.json").write_text(json.dumps(noted))
    assert (listed()["A0_B0"].accuracy, listed()["A0_B0"].skipped) == (0.75, None)
