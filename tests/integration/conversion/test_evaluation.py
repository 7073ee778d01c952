"""Accuracy of trained models on labelled samples: of PyTorch and of every artifact, as stored rows."""

import multiprocessing
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from digits import digits, save_folder
from integration.canned import finish_benchmark
from integration.conftest import Cluster, living_owner
from nnlite.artifacts import evaluation
from nnlite.artifacts.calibration import Calibration, CalibrationKind, pack
from nnlite.artifacts.evaluation import EvaluationData
from nnlite.artifacts.store import ArtifactStore, open_store
from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import submit
from nnlite.catalog.lemur.source import LemurSource
from nnlite.host.cores import choose_cores
from nnlite.results import queries
from nnlite.settings.groups import CatalogSettings
from nnlite.vocabulary import Precision, WorkKind
from nnlite.worker.attempt import Outcome, WorkerContext, run_attempt
from nnlite_conversion import converter as module
from nnlite_conversion.converter import Converter
from toys import LINEAR
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


def train(file: Path) -> None:
    """Train on other digits than those that are evaluated; in a process of its own: it starts threads."""
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


@pytest.fixture
def store(cluster: Cluster) -> ArtifactStore:
    return open_store(cluster.settings)


@pytest.fixture
def convert(cluster: Cluster, store: ArtifactStore):
    """Make one attempt at the conversion of a campaign with one model."""

    def attempt(campaign: uuid.UUID) -> Outcome:
        context = WorkerContext(
            engine=cluster.engine,
            broker=cluster.broker,
            owner=living_owner(),
            settings=cluster.settings,
            stopping=lambda: False,
        )
        converter = Converter(context=lambda: context, store=store, cores=choose_cores(""))
        row = cluster.conversion(campaign)["id"]
        return run_attempt(context, WorkKind.CONVERSION, row, converter.run, 2 * HANG_S)

    return attempt


@pytest.fixture
def labelled(store: ArtifactStore, tmp_path: Path):
    """Pack labelled samples as `--evaluate` does."""

    def make(source: Path, samples: int = 200) -> EvaluationData:
        packed = tmp_path / "packed.zip"
        count = evaluation.pack(source, packed, samples=samples, seed=3)
        kind, path = evaluation.kind_of(source), store.put(packed, ".zip")
        return EvaluationData(kind=kind, samples=count, seed=3, name=source.name, path=path)

    return make


def test_a_digits_model_is_evaluated_in_every_precision(cluster, store, convert, labelled, tmp_path):
    lemur = Lemur().trained("Digits", trial("t"), code=DIGITS, on="mnist").folder(tmp_path / "lemur")
    weights = tmp_path / "weights"
    weights.mkdir()
    training = multiprocessing.get_context("fork").Process(target=train, args=(weights / "Digits.pth",))
    training.start()
    training.join(HANG_S)
    assert training.exitcode == 0
    pictures = save_folder(tmp_path / "digits", 300, seed=2)
    calibration = Calibration(kind=CalibrationKind.IMAGES, name="digits")
    pack(calibration, pictures, tmp_path / "samples.zip")
    settings = cluster.settings.model_copy(update={"lemur": lemur, "catalog": CatalogSettings()})
    source = LemurSource(settings, weights=weights)
    request = Request(
        precisions=tuple(Precision),
        calibration=replace(calibration, path=store.put(tmp_path / "samples.zip", ".zip")),
        evaluation=labelled(pictures),
        weights=str(weights),
    )
    campaign = submit(
        cluster.engine, cluster.broker, request, models=source.models(), source=source, settings=settings,
        name="night", priority=5,
    ).id  # fmt: skip

    assert convert(campaign) is Outcome.DONE

    rows = cluster.rows("SELECT e.*, a.precision FROM evaluation e JOIN artifact a ON a.id = e.artifact_id")
    found = {row["precision"]: row for row in rows}
    assert set(found) == set(Precision)
    assert {(row["name"], row["seed"], row["samples"], row["reason"]) for row in rows} == {
        ("digits", 3, 200, None)
    }
    (torch_top1,) = {row["torch_top1"] for row in rows}
    (torch_top5,) = {row["torch_top5"] for row in rows}
    assert 0.7 < torch_top1 < torch_top5 <= 1, "it has learnt something, and not everything"
    assert (found["fp32"]["top1"], found["fp32"]["no_worse"]) == (torch_top1, 1)
    for row in rows:
        assert abs(row["top1"] - torch_top1) <= 0.05 and row["no_worse"] >= 0.95
        assert row["top1"] <= row["top5"] <= 1

    benchmarks = cluster.rows("SELECT id FROM benchmark")
    claims = [finish_benchmark(cluster, row["id"]) for row in benchmarks]
    assert {claim.payload["evaluation"]["name"] for claim in claims} == {"digits"}
    shown = {row["precision"]: row for row in queries.latencies(cluster.engine, "night")}
    assert {
        precision: (row["top1"], row["torch_top1"], row["no_worse"], row["evaluated_samples"])
        for precision, row in shown.items()
    } == {precision: (row["top1"], torch_top1, row["no_worse"], 200) for precision, row in found.items()}


@pytest.fixture
def five_of_eight(tmp_path: Path) -> Path:
    """Scores of eight samples: of five the class is first, of one more among the first five."""
    scores = np.zeros((8, 10), np.float32)
    best = np.arange(8)
    scores[np.arange(8), best] = 3
    y = best.copy()
    y[5:] = 9
    scores[5, 9], scores[6:, :7] = 2, 1
    scores[np.arange(6, 8), best[6:]] = 3
    np.savez(tmp_path / "scores.npz", x=scores, y=y)
    return tmp_path / "scores.npz"


SCORES = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(10))

    def forward(self, x):
        return x + self.bias
"""


def of_scores(cluster: Cluster, data: EvaluationData, name: str):
    from nnlite.catalog.model import ModelInput
    from nnlite.vocabulary import ModelFormat

    model = cluster.toys.add(
        "scores", SCORES, inputs=(ModelInput(shape=(1, 10)),), input_shape=None,
        model_format=ModelFormat.PYTHON, entry_point="Net", hyperparameters={},
    ) if not cluster.toys.models() else cluster.toys.models()[0]  # fmt: skip
    return cluster.submit(model.name, name=name, evaluation=data).id


def test_accuracy_is_the_share_of_samples_that_are_right_and_known_accuracy_is_not_measured_again(
    cluster, convert, labelled, five_of_eight, monkeypatch
):
    data = labelled(five_of_eight)
    assert convert(of_scores(cluster, data, "night")) is Outcome.DONE
    (row,) = cluster.rows("SELECT * FROM evaluation")
    assert (row["samples"], row["top1"], row["top5"]) == (8, 5 / 8, 6 / 8)
    assert (row["torch_top1"], row["torch_top5"], row["no_worse"]) == (5 / 8, 6 / 8, 1)

    monkeypatch.setattr(module, "evaluations_of", None)
    assert convert(of_scores(cluster, data, "day")) is Outcome.DONE
    assert len(cluster.rows("SELECT * FROM evaluation")) == 1


def test_samples_that_do_not_fit_the_network_are_a_reason_and_the_model_is_measured(
    cluster, convert, labelled, tmp_path
):
    folder = save_folder(tmp_path / "digits", 10, seed=0)
    for place in list(folder.iterdir()):
        place.rename(folder / f"digit {place.name}") if int(place.name) < 3 else None
    for place in folder.glob("[0-9]"):
        for file in place.iterdir():
            file.unlink()
    cluster.toys.add("tiny", LINEAR)
    campaign = cluster.submit("tiny", name="night", evaluation=labelled(folder)).id

    assert convert(campaign) is Outcome.DONE

    (row,) = cluster.rows("SELECT * FROM evaluation")
    assert (row["samples"], row["top1"]) == (None, None)
    assert row["reason"] == (
        "evaluate: there are sub-folders of 3 classes, the network has 10; name the sub-folders by the "
        "network's classes, 0 to 9"
    )
    assert cluster.ready("benchmark.host") == 1
