"""Toy models and a source of them, for tests in which nothing is converted or what is converted is tiny."""

from dataclasses import dataclass, field

from nnlite.catalog.model import CatalogModel, text_sha256

LINEAR = """
import torch

def supported_hyperparameters():
    return {"lr"}

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.layer = torch.nn.Linear(in_shape[1] * in_shape[2] * in_shape[3], out_shape[0])

    def forward(self, x):
        return self.layer(x.flatten(1))
"""


def toy_model(name: str, code: str = LINEAR, **changes: object) -> CatalogModel:
    """A model of 8 x 8 images; its code carries its name, so that no two have the same identity."""
    text = f"# {name}\n{code}"
    values: dict[str, object] = {
        "source": "toys",
        "name": name,
        "code_sha256": text_sha256(text),
        "task": "img-classification",
        "dataset": "cifar-10",
        "metric": "acc",
        "transform": None,
        "transform_sha256": None,
        "hyperparameters": {"lr": 0.1},
        "configuration_source": "default",
        "input_shape": (1, 3, 8, 8),
        "classes": 10,
    }
    return CatalogModel(**(values | changes))


@dataclass
class Toys:
    """A source of models whose code is at hand."""

    codes: dict[str, str] = field(default_factory=dict)
    name: str = "toys"
    _models: list[CatalogModel] = field(default_factory=list)

    def add(self, name: str, code: str = LINEAR, **changes: object) -> CatalogModel:
        model = toy_model(name, code, **changes)
        self.codes[model.code_sha256] = f"# {name}\n{code}"
        self._models.append(model)
        return model

    def models(self) -> list[CatalogModel]:
        return sorted(self._models, key=lambda model: model.name)

    def code(self, model: CatalogModel) -> str:
        return self.codes[model.code_sha256]

    def transform_code(self, model: CatalogModel) -> str | None:
        return None
