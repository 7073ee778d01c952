"""Files and folders as a source: what is found, what it is called, and one clear line about what is wrong.

More than 300 lines: one test per kind of file, with the damaged ones it must name.
"""

import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from nnlite.catalog.files.model_toml import parse_input
from nnlite.catalog.files.source import FilesSource, is_module
from nnlite.catalog.model import SEEDED_WEIGHTS, CatalogError, CatalogModel, ModelInput
from nnlite.cli.parsing.selection import absolute
from nnlite.diagnostics.preflight import judging_for
from nnlite.host.files import file_sha256
from nnlite.vocabulary import Layout, ModelFormat

NET = """
import torch
from torch import nn

class Block(nn.Module):
    pass

class Small(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.block = Block()

def make(): return Small(4)

raise SystemExit("somebody executed it")
"""
SHAPE = "1x3x8x8"


def archive(file: Path, *names: str, content: bytes = b"x", compress: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compress) as target:
        for name in names:
            target.writestr(f"{file.stem}/{name}", content)
    return file


def safetensors(file: Path, size: int = 8) -> Path:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    return file


@pytest.fixture
def models(tmp_path, make_settings):
    """List what lies at some paths below the test's folder."""

    def run(*paths: str, **options) -> list[CatalogModel]:
        return FilesSource(make_settings(None), path=tuple(tmp_path / p for p in paths), **options).models()

    return run


def test_a_folder_is_searched_and_unusable_files_are_skipped_with_a_reason(tmp_path, models):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.py").write_text(NET)
    (tmp_path / "nets" / "__init__.py").write_text("")
    (tmp_path / "tools.py").write_text("def load(): pass")
    (tmp_path / "notes.txt").write_text("nothing")
    archive(tmp_path / "net.pt2", "models/model.json")
    archive(tmp_path / "lost.pt", "data.pkl")
    (tmp_path / "ready.tflite").write_bytes(struct.pack("<I", 8) + b"TFL3" + bytes(8))

    by_name = {model.name: model for model in models(".", input=(SHAPE,))}

    assert list(by_name) == ["lost.pt", "net.pt2", "nets/small.py", "ready.tflite", "tools.py"]
    assert by_name["nets/small.py"].entry_point == "Small"
    assert [by_name[name].model_format for name in ("nets/small.py", "net.pt2", "ready.tflite")] == [
        ModelFormat.PYTHON,
        ModelFormat.EXPORTED,
        ModelFormat.PREBUILT,
    ]
    assert by_name["net.pt2"].weights == file_sha256(tmp_path / "net.pt2")
    assert by_name["net.pt2"].weights_suffix == ".pt2"
    assert by_name["lost.pt"].skipped == "weights without code: no lost.py next to lost.pt"
    assert by_name["tools.py"].skipped.startswith("no network: no class of tools.py derives")
    assert [name for name, model in by_name.items() if model.skipped is None] == [
        "net.pt2",
        "nets/small.py",
        "ready.tflite",
    ]


@pytest.mark.parametrize("name", ["net.pt", "net.pt2"])
def test_torchscript_is_recognized_and_says_what_to_save_instead(tmp_path, models, name):
    archive(
        tmp_path / name, "data.pkl", "code/__torch__/net.py", "constants.pkl", compress=zipfile.ZIP_DEFLATED
    )

    with pytest.raises(CatalogError, match=r"net\.pt2? is TorchScript .*torch\.export\.save\("):
        models(name)
    (listed,) = models(".")
    assert "TorchScript" in listed.skipped


def test_weights_named_as_a_model_say_which_file_to_name(tmp_path, models):
    archive(tmp_path / "net.pt", "data.pkl")
    with pytest.raises(CatalogError, match=r"no net\.py next to net\.pt"):
        models("net.pt")
    (tmp_path / "net.py").write_text(NET)
    with pytest.raises(CatalogError, match=r"net\.pt has weights only; name its code: .*net\.py"):
        models("net.pt")


def test_weights_of_the_same_name_belong_to_the_code_and_change_its_identity(tmp_path, models):
    (tmp_path / "net.py").write_text(NET)
    (bare,) = models("net.py", input=(SHAPE,))
    safetensors(tmp_path / "net.safetensors")
    (trained,) = models("net.py", input=(SHAPE,))

    assert (bare.weights, bare.weights_suffix) == (SEEDED_WEIGHTS, None)
    assert (trained.weights, trained.weights_suffix) == (
        file_sha256(tmp_path / "net.safetensors"),
        ".safetensors",
    )
    assert len({bare.identity, trained.identity}) == 2


def test_a_toml_describes_a_file_and_the_command_line_overrides_it(tmp_path, models):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "sub").mkdir()
    safetensors(tmp_path / "sub" / "w.safetensors")
    (tmp_path / "model.toml").write_text('inputs = ["1x1"]')
    (tmp_path / "net.toml").write_text(
        'inputs = ["1x3x8x8", "1x5:int64"]\nfactory = "make"\narguments = {width = 16}\nlayout = "as-is"\n'
        'weights = "sub/w.safetensors"\ntask = "img-classification"\ndataset = "mine"\naccuracy = 0.9\n'
    )
    (model,) = models("net.py")

    assert model.inputs == (ModelInput(shape=(1, 3, 8, 8)), ModelInput(shape=(1, 5), dtype="int64"))
    assert (model.entry_point, model.hyperparameters, model.layout) == ("make", {"width": 16}, Layout.AS_IS)
    assert (model.task, model.dataset, model.accuracy) == ("img-classification", "mine", 0.9)
    assert (model.weights_suffix, model.configuration_source) == (".safetensors", "net.toml")
    (net,) = models("net.py:Small", input=("1x7",), layout="nhwc")
    assert (net.inputs, net.entry_point, net.layout) == ((ModelInput(shape=(1, 7)),), "Small", Layout.NHWC)
    assert net.name == "net.py:Small"


def test_classes_that_are_parts_of_a_network_are_not_listed(tmp_path, models):
    (tmp_path / "net.py").write_text(NET.replace("= Block()", "= part()") + "def part(): return Block()")
    assert models("net.py", input=(SHAPE,))[0].entry_point == "Small"


def test_whatever_changes_the_network_changes_the_identity(tmp_path, models):
    (tmp_path / "net.py").write_text(NET)
    listings = [
        models("net.py", input=(SHAPE,)),
        models("net.py", input=("1x3x8x9",)),
        models("net.py", input=(SHAPE,), layout="as-is"),
        models("net.py:Block", input=(SHAPE,)),
    ]
    assert len({model.identity for (model,) in listings}) == len(listings)


def test_defaults_of_new_fields_do_not_change_identities_of_lemur_models():
    model = CatalogModel(
        source="lemur",
        name="AlexNet",
        code_sha256="c" * 64,
        task="img-classification",
        dataset="cifar-10",
        metric="acc",
        transform="norm_64",
        transform_sha256="d" * 64,
        hyperparameters={"lr": 0.01, "momentum": 0.9},
        configuration_source="default",
        input_shape=(1, 3, 64, 64),
        classes=10,
    )
    # As the first release computed it: artifacts in its cache stay known.
    assert model.identity == "df7d7427f720eddd4480e8ceaf117fefb9f00289d975a1653928fa3dd02f7d68"


def test_an_installed_module_is_named_with_its_version_and_not_imported(make_settings):
    path = Path("torchvision.models:mobilenet_v3_small")
    assert absolute([path]) == (str(path),) and is_module(path)
    before = set(sys.modules)
    source = FilesSource(make_settings(None), path=(path,), input=("1x3x32x32",))
    (model,) = source.models()
    assert (model.name, model.entry_point) == (str(path), "mobilenet_v3_small")
    assert source.code(model).startswith(
        "from torchvision.models import mobilenet_v3_small  # torchvision 0."
    )
    assert "torchvision" not in set(sys.modules) - before


def test_a_file_that_was_edited_after_its_listing_is_not_submitted(tmp_path, make_settings):
    archive(tmp_path / "net.pt2", "models/model.json")
    source = FilesSource(make_settings(None), path=(tmp_path / "net.pt2",))
    (model,) = source.models()
    assert source.weights_file(model) == tmp_path / "net.pt2"
    archive(tmp_path / "net.pt2", "models/model.json", content=b"other")
    with pytest.raises(CatalogError, match=r"net\.pt2 has changed since it was listed"):
        source.weights_file(model)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3,224,224", "is not written as SHAPE, SHAPE:TYPE or NAME=SHAPE:TYPE, such as 1x3x224x224:float32"),
        ("1x3x?x224", r"has the dynamic size \?; the sizes of an artifact are fixed: give a number"),
        ("1x-1", "has the dynamic size -1;"),
        ("ids=batchx16:int64", "has the dynamic size batch"),
        ("1xNonex4", "has the dynamic size None"),
        ("T16x80", "name every axis by a letter of its own"),
        ("T16xT80", "name every axis by a letter of its own"),
        ("N2xT16", "is a batch of 2"),
        ("16x80", "if its first axis is no batch, name the axes by letters, as in T16xF80"),
        ("1x3:float64", "the type float64 is none of float32, int32, int64"),
        ("8x3x224x224", "is a batch of 8; phones run one at a time"),
        ("1x0", "has 0 elements"),
        ("1x99999x99999", "elements; 1 to"),
    ],
)
def test_an_invalid_input_is_refused(text, reason):
    with pytest.raises(CatalogError, match=reason):
        parse_input(text)


@pytest.mark.parametrize(
    ("text", "expected", "batched", "is_image"),
    [
        ("1x3x8x8", ModelInput(shape=(1, 3, 8, 8)), True, True),
        ("N1xC3xH8xW8", ModelInput(shape=(1, 3, 8, 8), axes="NCHW"), True, True),
        ("N1xH4xT8xD8", ModelInput(shape=(1, 4, 8, 8), axes="NHTD"), True, False),
        ("T16xF80", ModelInput(shape=(16, 80), axes="TF"), False, False),
        ("mask=1x16:bool", ModelInput(shape=(1, 16), dtype="bool", name="mask"), True, False),
        ("x=X5:int64", ModelInput(shape=(5,), dtype="int64", name="x", axes="X"), False, False),
    ],
)
def test_an_input_has_a_keyword_and_named_axes(text, expected, batched, is_image):
    parsed = parse_input(text)

    assert (parsed, parsed.batched, parsed.is_image) == (expected, batched, is_image)


def test_inputs_by_keyword_come_last_and_once(tmp_path, models):
    (tmp_path / "net.py").write_text(NET)
    for wrong, reason in ((("a=1x2", "1x3"), "come after those"), (("a=1x2", "a=1x3"), "named twice: a, a")):
        with pytest.raises(CatalogError, match=reason):
            models("net.py", input=wrong)
    (tmp_path / "net.toml").write_text('inputs = ["1x3x8x8", "mask=T16:bool"]')
    (model,) = models("net.py")
    assert model.inputs[1] == ModelInput(shape=(16,), dtype="bool", name="mask", axes="T")


def test_keywords_and_axes_make_another_model(tmp_path, models):
    (tmp_path / "net.py").write_text(NET)
    texts = ("1x3x8x8", "x=1x3x8x8", "N1xC3xH8xW8")

    assert len({models("net.py", input=(text,))[0].identity for text in texts}) == len(texts)


def code(text: str):
    return lambda folder: (folder / "net.py").write_text(text)


def next_to_code(lay):
    """Lay a file next to code whose TOML gives its input."""
    return lambda folder: (toml('inputs = ["1x3"]')(folder), lay(folder))


def toml(text: str):
    return lambda folder: (code(NET)(folder), (folder / "net.toml").write_text(text))


@pytest.mark.parametrize(
    ("lay", "path", "reason"),
    [
        (lambda folder: None, "net.py", "no such file or folder: .*net.py$"),
        (lambda folder: None, "net.py:Net", "no such file or folder"),
        (lambda folder: None, ".", "no model in .*: no file there ends in .py, .pt2, .tflite"),
        (lambda folder: (folder / "net.onnx").touch(), "net.onnx", "a model is a folder or a file that ends"),
        (code("def make(): pass"), "net.py", "no network: no class of net.py derives from torch.nn.Module"),
        (code("class Net(:"), "net.py", "no Python: net.py does not parse"),
        (code("(" * 100_000), "net.py", "no Python: net.py does not parse"),
        (
            code(NET),
            "net.py:Big",
            "no Big: net.py has no such class and no such factory; it has Block, S",
        ),
        (
            code(NET.replace("= Block()", "= 1")),
            "net.py",
            "several networks: net.py has Block, Small",
        ),
        (code(NET), "net.py", "no input shape: net.py declares none; give it with --input 1x3x224x224, or"),
        (toml('inputs = "1x3"'), "net.py", "net.toml: inputs: Input should be a valid list"),
        (toml('inputs = ["1x3:complex64"]'), "net.py", "net.toml: input 1x3:complex64: the type complex64"),
        (toml("shape = [1]"), "net.py", "net.toml: shape: Extra inputs are not permitted"),
        (toml("inputs ="), "net.py", "net.toml: Invalid value"),
        (toml('weights = "../../etc/shadow"'), "net.py", "weights must be in this file's folder or below it"),
        (toml('weights = "none.pt"'), "net.py", "net.toml: weights: no such file: .*none.pt"),
        (toml('class = "A"\nfactory = "b"'), "net.py", "give class or factory, not both"),
        (
            lambda folder: (folder / "net.pt2").write_bytes(b"PK\3\4half"),
            "net.pt2",
            "truncated, or not a zip",
        ),
        (lambda folder: archive(folder / "net.pt2", "a"), "net.pt2", "nothing in it is called model.json"),
        (
            lambda folder: archive(
                folder / "net.pt2", "models/model.json", content=bytes(9999), compress=zipfile.ZIP_DEFLATED
            ),
            "net.pt2",
            "would unpack to more than it is",
        ),
        (
            lambda folder: (folder / "net.tflite").write_bytes(b"not a flatbuffer at all"),
            "net.tflite",
            "is not a .tflite file",
        ),
        (
            next_to_code(lambda folder: safetensors(folder / "net.safetensors", 7)),
            "net.py",
            "net.safetensors is truncated: 8 bytes of weights are announced",
        ),
        (
            next_to_code(lambda folder: (folder / "net.safetensors").write_bytes(b"\xff" * 9)),
            "net.py",
            "its header cannot be read",
        ),
        (
            next_to_code(lambda folder: (folder / "net.pt").write_bytes(b"\x80\2}.")),
            "net.py",
            "net.pt is not a file of torch.save",
        ),
        (
            next_to_code(
                lambda folder: (folder / "net.pt").write_bytes(b"version https://git-lfs.github.com/")
            ),
            "net.py",
            "net.pt is a pointer of Git LFS, not the file itself: fetch that with git lfs pull",
        ),
        (
            next_to_code(lambda folder: (folder / "net.safetensors").write_bytes(b"\n<!DOCTYPE html>")),
            "net.py",
            r"net.safetensors is a web page \(HTML\), not the file itself",
        ),
        (
            next_to_code(lambda folder: ((folder / "net.pt").touch(), (folder / "net.safetensors").touch())),
            "net.py",
            "several weights: net.safetensors, net.pt are next to net.py; name one in net.toml",
        ),
    ],
)
def test_an_invalid_file_is_one_line_of_error(tmp_path, models, lay, path, reason):
    lay(tmp_path)
    with pytest.raises(CatalogError, match=reason) as error:
        models(path)
    assert "\n" not in str(error.value)


def test_an_unreadable_path_is_one_line_of_error(tmp_path, models):
    (tmp_path / "closed").mkdir(mode=0o000)
    nobody = 65534 if os.geteuid() == 0 else None  # nothing is closed to root
    with (
        judging_for(nobody),
        pytest.raises(CatalogError, match=r"account \d+ may not read .*net\.py; give it read permission"),
    ):
        models("closed/net.py")


def test_models_of_the_same_name_are_distinguished_by_their_folder(tmp_path, models):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(NET)
    with pytest.raises(CatalogError, match=r"two models are called net\.py: .*a/net\.py and .*b/net\.py"):
        models("a/net.py", "b/net.py", input=(SHAPE,))
    assert [model.name for model in models(".", input=(SHAPE,))] == ["a/net.py", "b/net.py"]


def test_a_file_above_the_size_limit_is_refused_with_a_hint(tmp_path, make_settings):
    settings = make_settings(None)
    small = settings.model_copy(update={"catalog": settings.catalog.model_copy(update={"max_file_mb": 1})})
    with (tmp_path / "net.tflite").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(CatalogError, match=r"above the limit of 1; NNLITE_CATALOG__MAX_FILE_MB raises it"):
        FilesSource(small, path=(tmp_path / "net.tflite",)).models()
