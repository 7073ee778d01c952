"""Questions of generators: what they may contain, and the models that they make."""

import json

import pytest

from generated import NET
from nnlite.errors import UsageError
from nnlite.ranking.question import Candidates, parse_question
from nnlite.settings import Settings
from nnlite.vocabulary import ModelFormat

MODULE = """
import torch

class Small(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))
"""


def asked(*models, **how):
    return parse_question(json.dumps({"models": models, **how}).encode())


def listed(tmp_path, *models):
    return Candidates(Settings(home=tmp_path, lemur=tmp_path / "none", _env_file=None), asked(*models))


def test_a_model_of_lemurs_form_is_taken_as_from_nn_gpts_folders(tmp_path):
    source = listed(tmp_path, {"name": "A0_B1", "code": NET, "accuracy": 0.5, "dataset": "mnist"})
    (model,) = source.models()
    assert model.source == source.name == "nngpt"
    assert model.name.startswith("A0_B1-")
    assert (model.dataset, model.task, model.accuracy) == ("mnist", "img-classification", 0.5)
    assert model.hyperparameters["transform"] == model.transform == "norm_256_flip"
    assert model.skipped is None
    assert source.code(model) == NET


def test_any_other_module_names_its_inputs(tmp_path):
    source = listed(tmp_path, {"name": "net-7", "code": MODULE, "inputs": ["1x3x32x32"], "task": "t"})
    (model,) = source.models()
    assert (model.source, model.name, model.entry_point) == ("files", "net-7", "Small")
    assert model.model_format is ModelFormat.PYTHON
    assert model.inputs[0].shape == (1, 3, 32, 32)
    assert (source.code(model), source.transform_code(model)) == (MODULE, None)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"code": "class Net("}, "broken: its code does not parse"),
        ({"code": "x = 1"}, "broken: its code no class Net"),
        ({"code": NET, "transform": "mine", "transform_code": "x = 1"}, "defines no function transform"),
        ({"code": NET, "transform": "mine"}, "transform missing: mine"),
        ({"code": "x = 1", "inputs": ["1x3x8x8"]}, "no network"),
        ({"code": MODULE, "inputs": ["?x3x8x8"]}, "dynamic size"),
    ],
)
def test_a_model_that_cannot_be_converted_is_skipped_with_its_reason(model, why, tmp_path):
    (row,) = listed(tmp_path, {"name": "a"} | model).models()
    assert why in row.skipped


def test_the_same_question_is_the_same_campaign():
    one, other = {"name": "a", "code": NET}, {"name": "b", "code": NET}
    assert asked(one).name == asked(one, priority=9).name != asked(other).name
    assert asked(one, pools=["phones"]).name != asked(one).name
    assert asked(one, campaign="generation-7").name == "generation-7"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff", "not UTF-8: byte 0"),
        (b"{", "the question is not usable JSON"),
        (b'{"models": [{"name": "a", "code": "x", "accuracy": NaN}]}', "not usable JSON: NaN is no number"),
        (b"[]", "the question: Input should be"),
        (b"{}", "models: Field required"),
        (b'{"models": 3}', "models: Input should be a valid list"),
        (b'{"models": []}', "models: List should have at least 1 item"),
        (b'{"models": [{"name": "a"}]}', "models.0.code: Field required"),
        (b'{"models": [{"name": "../a", "code": "x"}]}', "models.0.name: String should match"),
        (b'{"models": [{"name": "a", "code": "x", "acuracy": 1}]}', "models.0.acuracy: Extra inputs"),
        (b'{"models": [{"name": "a", "code": "x", "accuracy": 71}]}', "models.0.accuracy: Input should be"),
        (
            b'{"models": [{"name": "a", "code": "x", "inputs": ["1x3x8x8"], "transform": "t"}]}',
            "transform belongs to LEMUR's form",
        ),
        (b'{"models": [{"name": "a", "code": "x", "entry_point": "N"}]}', "entry_point is for modules"),
        (b'{"models": [{"name": "a", "code": "x"}, {"name": "a", "code": "y"}]}', "two models are called a"),
        (
            b'{"models": [{"name": "a", "code": "x"}, {"name": "b", "code": "y", "inputs": ["1x8"]}]}',
            "two campaigns; ask twice",
        ),
        (b'{"models": [{"name": "a", "code": "x"}], "precisions": ["fp8"]}', "precisions.0: Input should be"),
        (
            b'{"models": [{"name": "a", "code": "x"}], "backends": ["gpu"], "threads": [2]}',
            "threads are for the backend cpu",
        ),
    ],
)
def test_what_is_no_question_is_refused_with_the_field_and_what_is_allowed(body, said):
    with pytest.raises(UsageError) as raised:
        parse_question(body)
    assert said in str(raised.value)
