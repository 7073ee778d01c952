"""Toy networks in the shape of every task of LEMUR, from its files to an exported graph."""

from dataclasses import fields

import pytest

from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.lemur.tasks import SUPPORTED_TASKS
from nnlite.catalog.model import ModelDefinition, ModelSpec
from nnlite.settings import Settings
from nnlite.settings.groups import CatalogSettings
from nnlite.vocabulary import Precision
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline import stages
from nnlite_conversion.pipeline.loading.load import load
from unit.catalog.copies import Lemur, trial
from unit.conversion.test_adapters import DETECTOR

CODE = """import torch

def supported_hyperparameters():
    return {{'lr', 'momentum'}}

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.layer = {layer}

    def forward(self, {parameters}):
        return {result}
"""


def net(layer: str, result: str, parameters: str = "x") -> str:
    return CODE.format(layer=layer, result=result, parameters=parameters)


CONVOLUTION = net("torch.nn.Conv2d(in_shape[1], out_shape[0], 1)", "self.layer(x)")
WORDS = "torch.nn.Embedding(out_shape[0], out_shape[0])"
#: By task: dataset, code, shapes of the inputs as an artifact takes them, and of the outputs.
TASKS = {
    "img-classification": (
        "cifar-10",
        net("torch.nn.Linear(in_shape[1], out_shape[0])", "self.layer(x.mean((2, 3)))"),
        [(1, 64, 64, 3)],
        [(1, 10)],
    ),
    "img-segmentation": ("coco", CONVOLUTION, [(1, 64, 64, 3)], [(1, 6, 64, 64)]),
    "age-regression": (
        "utkface",
        net("torch.nn.Linear(in_shape[1], out_shape[0])", "self.layer(x.mean((2, 3)))"),
        [(1, 64, 64, 3)],
        [(1, 1)],
    ),
    "img-denoising": ("denoise", CONVOLUTION, [(1, 64, 64, 3)], [(1, 3, 64, 64)]),
    "img-super-resolution": ("div2k", CONVOLUTION, [(1, 128, 128, 3)], [(1, 3, 128, 128)]),
    "obj-detection": ("coco", DETECTOR, [(1, 64, 64, 3)], None),
    "img-captioning": (
        "coco",
        net(WORDS, "self.layer(captions) + images.mean(), captions", "images, captions=None"),
        [(1, 64, 64, 3), (1, 20)],
        [(1, 20, 50)],
    ),
    "txt-generation": ("wikitext", net(WORDS, "self.layer(x)"), [(1, 128)], [(1, 128, 50)]),
}  # fmt: skip
#: The same networks under LEMUR's other names.
SAME = {"super-resolution", "img-sr"}


def test_every_task_is_tried():
    assert TASKS.keys() | SAME == SUPPORTED_TASKS


@pytest.mark.parametrize("task", TASKS)
def test_a_network_of_the_task_is_listed_loaded_and_exported(task, tmp_path):
    dataset, code, inputs, outputs = TASKS[task]
    lemur = Lemur(models={"net": code}, trials={(f"{task}_{dataset}_metric_net", 1): [trial("one")]})
    limits = CatalogSettings(vocabulary_words=50, vocabulary_characters=50)
    settings = Settings(
        home=tmp_path / "home", lemur=lemur.folder(tmp_path / "tree"), catalog=limits, _env_file=None
    )
    source = LemurSource(settings)
    (model,) = source.models()
    assert (model.task, model.skipped) == (task, None)
    spec = ModelSpec(
        **{each.name: getattr(model, each.name) for each in fields(ModelDefinition)},
        code=source.code(model),
        transform_code=source.transform_code(model),
    )

    job = ConversionJob(model=spec, precisions=(Precision.FP32,), max_parameters=10**6)
    loaded, _ = load(job, tmp_path)
    program, *_ = stages.export(loaded)

    assert [sample.shape for sample in loaded.samples] == inputs
    if outputs is not None:  # a detector's heads are those of its image, which it resizes
        assert [output.shape for output in loaded.expected] == outputs
    assert len(program.graph_signature.user_outputs) == len(loaded.expected)
