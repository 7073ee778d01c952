"""Which hyperparameters make another network, and the configurations that follow from it."""

import pytest

from nnlite.artifacts.store import file_name
from nnlite.catalog.lemur.network_keys import network_keys
from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.lemur.variants import Names
from nnlite.catalog.model import CatalogError
from nnlite.catalog.selection import select
from unit.catalog.copies import NORM_64, Lemur, trial

NET = """
import torch
import torch.nn as nn
import torch.nn.functional as F

class Block(nn.Module):
    def __init__(self, width, drop=0.0):
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.drop = nn.Dropout(drop)

def scaled(width):
    return int(width) * 2

class Net(nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        BODY

    def forward(self, x):
        return F.dropout(x, p=self.rate, training=self.training) if FORWARD else x

    def train_setup(self, prm):
        self.optimizer = torch.optim.SGD(self.parameters(), lr=prm['lr'], momentum=self.momentum)
"""


def net(body: str, forward: str = "False") -> str:
    return NET.replace("BODY", body.replace("\n", "\n        ")).replace("FORWARD", forward)


@pytest.mark.parametrize(
    "body",
    [
        "self.layer = nn.Linear(1, 1)",
        "self.momentum = prm['momentum']",
        "self.layer = nn.Dropout(p=prm['dropout'])",
        "rate: float = float(prm.get('dropout', 0.1))\nself.layer = nn.Dropout(rate)",
        "rate = prm['dropout'] if 'dropout' in prm else 0.5\nself.layer = Block(8, drop=min(rate, 0.9))",
        "self.rate = prm['dropout']",
        "self.prm = prm\nself.layer = nn.Dropout(self.prm['dropout'] * 0.5)",
        "self.layer = nn.LSTM(8, 8, dropout=prm['dropout'])",
    ],
)
def test_hyperparameters_that_only_training_reads_do_not_change_the_network(body):
    assert network_keys(net(body, "True")) == frozenset()


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        ("self.layer = nn.Linear(prm['width'], 1)", {"width"}),
        ("self.layer = Block(prm.get('width', 8))", {"width"}),
        ("self.layer = nn.Linear(scaled(prm['width']), 1)", {"width"}),
        ("self.layers = nn.ModuleList(Block(8) for _ in range(prm['depth']))", {"depth"}),
        ("if prm['dropout'] > 0:\n    self.layer = nn.Dropout(0.5)", {"dropout"}),
        ("self.layer = nn.Dropout(0.5) if prm['dropout'] else nn.Identity()", {"dropout"}),
        (
            "self.momentum = prm['momentum']\nself.layer = nn.BatchNorm2d(8, momentum=self.momentum)",
            {"momentum"},
        ),
        ("self.a = prm['a']\nself.a = prm['b']\nself.layer = nn.Linear(self.a, 1)", {"a", "b"}),
        ("self.training = prm['flag']", {"flag"}),
        ("self.prm = prm\nself.layer = nn.Linear(self.prm['width'], 1)", {"width"}),
        ("self.layer = nn.Linear(int(prm['dropout'] * 100), 1)", {"dropout"}),
    ],
)
def test_hyperparameters_that_the_constructor_reads_change_the_network(body, keys):
    assert network_keys(net(body)) == keys


def test_a_dropout_that_is_active_in_eval_mode_changes_the_network():
    code = net("self.rate = prm['dropout']", "True").replace("training=self.training", "training=True")
    assert network_keys(code) == {"dropout"}


@pytest.mark.parametrize(
    "code",
    [
        net("self.layer = make(prm)"),
        net("self.layer = make(**prm)"),
        net("for key in prm: pass"),
        net("self.layer = nn.Linear(prm[key], 1)"),
        net("prm = dict(prm)"),
        net("self.train_setup(prm)"),
        net("self.width = getattr(self, name)"),
        net("self.layer = nn.Dropout(prm['dropout'])").replace("import torch.nn as nn", "import mine as nn"),
        net("self.layer = nn.Dropout(prm['dropout'])").replace("class Block", "class Dropout"),
        net("pass").replace("class Net(nn.Module)", "class Net(Other)"),
        "class Net: pass",
        "class Net(:",
    ],
)
def test_every_hyperparameter_counts_if_the_code_cannot_be_analyzed(code):
    assert network_keys(code) is None


@pytest.fixture
def listed(lemur: Lemur, make_settings, tmp_path):
    """The models of a LEMUR of one architecture whose width decides, from any kind of copy."""
    lemur.transforms["norm_64_twin"] = NORM_64 + "\n"
    lemur.trained(
        "Wide",
        trial("best", duration=1, width=8, dropout=0.1),
        trial("only training differs", duration=2, width=8, dropout=0.9, lr=5.0),
        trial("wider", duration=3, width=16, dropout=0.1),
        trial("wider again", duration=4, width=16, dropout=0.2),
        trial("widest", duration=5, width=32, dropout=0.1),
        code=net("self.layer = nn.Linear(prm['width'], 1)\nself.drop = nn.Dropout(prm['dropout'])"),
    )
    lemur.trials["img-classification_mnist_acc_Wide", 1] = [trial("on mnist", duration=6, width=8)]

    def look(configs="all", kind="folder", wanted=()):
        path = tmp_path / kind
        copy = path if path.exists() else getattr(lemur, kind)(path)
        return LemurSource(make_settings(copy), configs=configs, wanted=wanted)

    return look


@pytest.mark.parametrize("kind", ["folder", "wheel", "sqlite"])
def test_every_configuration_is_a_model_and_the_default_one_keeps_its_identity(kind, listed):
    chosen = listed("best", kind).models()
    models = listed("all", kind).models()
    assert models[0] == chosen[0]
    assert [(model.name, model.configuration_source) for model in models] == [
        ("Wide", "trial:best"),
        ("Wide@width=16", "trial:wider"),
        ("Wide@width=32", "trial:widest"),
        ("Wide@mnist", "trial:on mnist"),
    ]
    assert len({model.identity for model in models}) == 4


@pytest.mark.parametrize("kind", ["folder", "wheel", "sqlite"])
@pytest.mark.parametrize("wanted", ["Wide", "Wi*", "Wide@mnist", "Wide@m*", "*mnist", "W[hi]de"])
def test_configurations_of_one_model_are_those_of_the_whole_listing(kind, wanted, listed, lemur):
    lemur.trained("Tall", trial("tall", width=8), code=net("self.layer = nn.Linear(prm['width'], 1)"))
    lemur.trials["img-classification_mnist_acc_Tall", 1] = [trial("tall on mnist", width=9)]
    everything = listed("all", kind).models()
    some = listed("all", kind, wanted=(wanted,)).models()
    assert [model for model in some if model.name.startswith("Wide")] == [
        model for model in everything if model.name.startswith("Wide")
    ]
    others = ["Tall", "Tall@mnist,width=9"] if wanted == "*mnist" else ["Tall"]
    assert [model.name for model in some if model.name.startswith("Tall")] == others


def test_the_limit_keeps_the_first_configurations_in_ranking_order(listed):
    assert [model.name for model in listed("2").models()] == ["Wide", "Wide@width=16"]


def test_an_architectures_name_selects_all_its_configurations(listed):
    models = listed().models()
    assert select(models, names=["Wide"]) == models
    assert select(models, match="Wid?") == sorted(models, key=lambda model: model.name)
    assert [model.name for model in select(models, names=["Wide@mnist"])] == ["Wide@mnist"]


def test_the_code_of_a_configuration_is_that_of_its_architecture(listed):
    source = listed()
    best, *others = source.models()
    assert {source.code(model) for model in others} == {source.code(best)}


@pytest.mark.parametrize("configs", ["0", "-1", "some", "1.5", ""])
def test_an_invalid_number_of_configurations_is_refused(configs, make_settings):
    with pytest.raises(CatalogError, match="must be best, all or a number above 0"):
        LemurSource(make_settings(None), configs=configs)


def test_names_of_configurations_are_unique_also_as_file_names():
    names = Names("ResNet")
    labels = ["svhn,norm_64", "svhn=norm_64", "svhn,norm_64", "width=" + "9" * 200, "width=" + "9" * 201, ""]
    unique_names = [names.of(label, str(number).encode()) for number, label in enumerate(labels)]
    assert unique_names[0] == "ResNet@svhn,norm_64"
    assert len({file_name(name) for name in unique_names}) == len(labels)
    assert max(map(len, unique_names)) <= len("ResNet@") + 48
