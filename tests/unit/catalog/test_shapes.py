"""The committed table of input shapes."""

import pytest

from nnlite.catalog.lemur.shapes import InputShape, ShapeTable, committed_table, parse_entry
from nnlite.catalog.model import text_sha256
from unit.catalog.copies import NORM_64

ECHO = """import torchvision.transforms as transforms

def transform(_):
    return transforms.Compose([
        transforms.ToTensor()])"""


@pytest.mark.parametrize(
    ("code", "dataset", "shape"),
    [
        (NORM_64, "places365", (3, 64, 64)),
        (ECHO, "cifar-100", (3, 32, 32)),
        (ECHO, "mnist", (1, 28, 28)),
        (ECHO, "celeba-gender", (3, 218, 178)),
        (ECHO, "imagenette", (3, 224, 224)),  # varies: the size that the settings give
    ],
)
def test_lemurs_own_transforms_are_known_by_their_text(code, dataset, shape):
    channels, height, width = shape
    entry = committed_table().look_up(text_sha256(code), dataset, variable_size=224)
    assert entry == InputShape(channels=channels, height=height, width=width)
    assert entry.batch_of_one == (1, *shape)


def test_an_edited_transform_is_unknown():
    assert committed_table().look_up(text_sha256(ECHO + "\n# edited"), "mnist", 256) is None


def test_an_unknown_dataset_is_unknown():
    assert committed_table().look_up(text_sha256(ECHO), "holiday-photos", 256) is None


def test_complex_tensors_are_skipped():
    assert parse_entry("complex64 3x32x32", 256).startswith("complex input: ")


def test_a_transform_without_a_tensor_is_skipped_with_a_reason():
    assert parse_entry("no tensor: it fails", 256) == "no tensor: it fails"


def test_a_pair_without_a_shape_in_the_table_is_unknown():
    row = {"shapes": {"*": "float32 3x8x8", "coco": None}, "transforms": {"crop": "0" * 16}}
    table = ShapeTable([row])
    assert table.look_up("0" * 64, "coco", 256) is None
    assert table.look_up("0" * 64, "mnist", 256) == InputShape(channels=3, height=8, width=8)
