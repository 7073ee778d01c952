"""Finding a shape by applying the transform, as the conversion child and the table's maker do."""

import json

import pytest

import make_shapes
from make_shapes import main, make_table, table_entry
from nnlite.catalog.lemur.datasets import DATASETS
from nnlite.catalog.lemur.shapes import ShapeTable
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion.pipeline.loading.transforms import input_shape
from unit.catalog.copies import MODEL, NORM_64, Lemur
from waiting import HANG_S

PAD = "import torchvision.transforms as t\ndef transform(norm): return t.Compose([t.Pad(2), t.ToTensor()])"
KEEP = "import torchvision.transforms as t\ndef transform(norm): return t.ToTensor()"
FIVE = "import torchvision.transforms as t\ndef transform(norm): return t.FiveCrop(20)"
COMPLEX = (
    "import torch, torchvision.transforms as t\n"
    "def transform(norm): return t.Compose([t.ToTensor(), lambda x: x.type(torch.complex64)])"
)


@pytest.mark.parametrize(
    ("code", "dataset", "shape"),
    [
        (NORM_64, "mnist", (1, 1, 64, 64)),
        (KEEP, "celeba-gender", (1, 3, 218, 178)),
        (PAD, "svhn", (1, 3, 36, 36)),
        (PAD, "imagenette", (1, 3, 204, 204)),
    ],
)
def test_the_shape_is_what_the_transform_gives(code, dataset, shape):
    result = input_shape(code, "mine", dataset, variable_size=200)
    assert (result.batch_of_one, result.dtype) == (shape, "float32")


@pytest.mark.parametrize(
    ("code", "dataset", "reason"),
    [
        ("def transform(norm): raise KeyError('mean')", "mnist", "transform mine on mnist fails: KeyError"),
        ("def transfrom(norm): pass", "mnist", "fails: KeyError: 'transform'"),
        ("def transform(norm: pass", "mnist", "SyntaxError"),
        ("import nowhere_to_be_found", "mnist", "ModuleNotFoundError"),
        (FIVE, "cifar-10", "gives a tuple, not a tensor"),
        (COMPLEX, "cifar-10", "complex input"),
        (KEEP, "holiday-photos", "unknown dataset holiday-photos"),
    ],
)
def test_a_transform_that_gives_no_usable_tensor_is_the_models_failure(code, dataset, reason):
    with pytest.raises(Failure, match=reason) as caught:
        input_shape(code, "mine", dataset, variable_size=256)
    assert (caught.value.failure_class, caught.value.stage) == (FailureClass.MODEL, Stage.LOAD)


@pytest.mark.parametrize(
    ("code", "dataset", "entry"),
    [
        (NORM_64, "imagenette", "float32 3x64x64"),
        (KEEP, "imagenette", "float32 3xSxS"),
        (KEEP, "mnist", "float32 1x28x28"),
        (PAD, "mnist", "float32 1x32x32"),
        (PAD, "imagenette", None),  # neither fixed nor the picture's own: found out at conversion
    ],
)
def test_the_table_holds_what_is_certain(code, dataset, entry):
    assert table_entry(code, "mine", DATASETS[dataset]) == entry


def test_transforms_that_hang_or_die_do_not_keep_the_others_from_the_table(monkeypatch, capsys):
    in_fork = make_shapes._entries_in_fork
    monkeypatch.setattr(
        make_shapes,
        "_entries_in_fork",
        lambda name, code, timeout_s: in_fork(name, code, 0.1 if name == "hangs" else timeout_s),
    )
    transforms = {
        "good": NORM_64,
        "hangs": "import time; time.sleep(3600)",
        "dies": "import os; os._exit(3)",
    }
    table = make_table(transforms, timeout_s=HANG_S)
    assert [list(row["transforms"]) for row in table["rows"]] == [["good"]]
    assert ShapeTable(table["rows"]).look_up(table["rows"][0]["transforms"]["good"], "coco", 256).height == 64
    assert {line.split(":")[0] for line in capsys.readouterr().err.splitlines()} == {"hangs", "dies"}


def test_the_program_writes_the_table_of_a_lemur(monkeypatch, tmp_path):
    lemur = Lemur().untrained("Net", MODEL).folder(tmp_path / "lemur")
    monkeypatch.setenv("NNLITE_LEMUR", str(lemur))
    monkeypatch.setattr("sys.argv", ["input_shapes", "--output", str(tmp_path / "table.json")])
    main()
    table = json.loads((tmp_path / "table.json").read_text())
    assert [list(row["transforms"]) for row in table["rows"]] == [["norm_64"]]
