"""A model of LEMUR with trained weights: a small classifier of synthetic digits, and its pictures."""

import multiprocessing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from digits import digits, save_folder
from nnlite.artifacts import evaluation
from nnlite.artifacts.calibration import Calibration, CalibrationKind, pack
from nnlite.artifacts.evaluation import EvaluationData
from nnlite.artifacts.store import ArtifactStore
from nnlite.campaigns.request import Request
from nnlite.vocabulary import Precision
from unit.catalog.copies import NORM_64, Lemur, trial
from waiting import HANG_S

DIGITS = """
import torch

def supported_hyperparameters():
    return {"lr", "momentum"}

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.hidden, self.head = torch.nn.Linear(256, 48), torch.nn.Linear(48, out_shape[0])

    def forward(self, x):
        pixels = torch.nn.functional.avg_pool2d(x, 4).flatten(1)
        return self.head(torch.relu(self.hidden(pixels)))
"""


def _train(file: Path) -> None:
    """Train on other digits than those that are evaluated; in a process of its own: it starts threads."""
    import torch
    from PIL import Image

    torch.manual_seed(0)
    torch.set_num_threads(1)
    code: dict = {"__name__": "model"}
    exec(compile(DIGITS, "model.py", "exec"), code)
    exec(compile(NORM_64, "transform.py", "exec"), code)
    network = code["Net"]((1, 1, 64, 64), (10,), {}, torch.device("cpu"))
    transform = code["transform"](((0.1307,), (0.3081,)))
    pictures, labels = digits(600, seed=1)
    images = torch.stack([transform(Image.fromarray(picture)) for picture in pictures])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), torch.from_numpy(labels)).backward()
        optimizer.step()
    torch.save(network.state_dict(), file)


@dataclass(frozen=True)
class TrainedDigits:
    """The model `Digits`, its weights, and a request that evaluates it in every precision."""

    #: LEMUR with this one model.
    lemur: Path
    #: Folder of its weights.
    weights: Path
    request: Request

    @classmethod
    def make(cls, folder: Path, store: ArtifactStore, samples: int = 200, **request: Any) -> "TrainedDigits":
        """Train the model in a second, and put what it is calibrated and evaluated on into the store."""
        lemur = Lemur().trained("Digits", trial("t"), code=DIGITS, on="mnist").folder(folder / "lemur")
        weights = folder / "weights"
        weights.mkdir()
        training = multiprocessing.get_context("fork").Process(target=_train, args=(weights / "Digits.pth",))
        training.start()
        training.join(HANG_S)
        assert training.exitcode == 0
        pictures = save_folder(folder / "digits", 300, seed=2)
        calibration = Calibration(kind=CalibrationKind.IMAGES, name="digits")
        pack(calibration, pictures, folder / "samples.zip")
        asked = Request(
            precisions=tuple(Precision),
            calibration=replace(calibration, path=store.put(folder / "samples.zip", ".zip")),
            evaluation=labelled_samples(store, pictures, folder, samples),
            weights=str(weights),
        )
        return cls(lemur, weights, replace(asked, **request))


def labelled_samples(store: ArtifactStore, source: Path, folder: Path, samples: int) -> EvaluationData:
    """Pack labelled samples into a store as `--evaluate` does."""
    packed = folder / "packed.zip"
    count = evaluation.pack(source, packed, samples=samples, seed=3)
    kind, path = evaluation.kind_of(source), store.put(packed, ".zip")
    return EvaluationData(kind=kind, samples=count, seed=3, name=source.name, path=path)
