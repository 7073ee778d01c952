"""Networks of tests: of one function; and one that has to be rewritten, as code, object and program."""

from pathlib import Path

import torch

from nnlite.catalog.model import ModelInput

IMAGE = ModelInput(shape=(1, 3, 8, 8))
NAMES = ModelInput(shape=(1, 5), dtype="int64")
TWO = """
import torch
class Two(torch.nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, width, 3)
        self.norm = torch.nn.BatchNorm2d(width)
        self.drop = torch.nn.Dropout()
        self.names = torch.nn.Embedding(4, width)
    def forward(self, picture, names):
        seen = self.drop(self.norm(self.convolution(picture)))
        seen = torch.nn.functional.adaptive_max_pool2d(seen, 1).flatten(1)
        return {"both": seen + self.names(names).sum(1), "picture": seen}
"""


class OfFunction(torch.nn.Module):
    """A network of one function, which takes the network itself and its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(self, *inputs)


def two(width: int = 6) -> torch.nn.Module:
    """Return the network of `TWO` with weights of its own."""
    namespace: dict = {}
    exec(TWO, namespace)
    torch.manual_seed(1)
    return namespace["Two"](width)


def exported(file: Path, network: torch.nn.Module, batch: int = 1, **options) -> Path:
    """Save the program of a network like `two` into `file`."""
    samples = (torch.zeros(batch, 3, 8, 8), torch.zeros(batch, 5, dtype=torch.int64))
    torch.export.save(torch.export.export(network, samples, **options), file)
    return file
