"""Accuracy of trained models on labelled samples: of PyTorch and of every artifact, as stored rows."""

import threading
import uuid
from pathlib import Path

import numpy as np
import pytest

from digits import save_folder
from integration.canned import finish_benchmark
from integration.conftest import Cluster, living_owner
from nnlite.artifacts.evaluation import EvaluationData
from nnlite.artifacts.store import ArtifactStore, open_store
from nnlite.campaigns.submit import submit
from nnlite.catalog.lemur.source import LemurSource
from nnlite.host.cores import choose_cores
from nnlite.results import queries
from nnlite.results.devices import record_ready
from nnlite.settings.groups import CatalogSettings, MeasurementSettings
from nnlite.vocabulary import Backend, EvaluateOn, Fault, Precision, Stage, WorkKind
from nnlite.worker.attempt import Outcome, WorkerContext, run_attempt
from nnlite_benchmark.benchmarker import Benchmarker
from nnlite_benchmark.device import DeviceFailure
from nnlite_benchmark.host.device import HostDevice
from nnlite_conversion import converter as module
from nnlite_conversion.converter import Converter
from toys import LINEAR
from trained_digits import TrainedDigits, labelled_samples
from waiting import HANG_S


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
        return labelled_samples(store, source, tmp_path, samples)

    return make


def test_a_digits_model_is_evaluated_in_every_precision(cluster, store, convert, tmp_path):
    trained = TrainedDigits.make(tmp_path, store)
    settings = cluster.settings.model_copy(update={"lemur": trained.lemur, "catalog": CatalogSettings()})
    source = LemurSource(settings, weights=trained.weights)
    campaign = submit(
        cluster.engine, cluster.broker, trained.request, models=source.models(), source=source,
        settings=settings, name="night", priority=5,
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


@pytest.fixture
def scored(labelled, five_of_eight: Path) -> EvaluationData:
    return labelled(five_of_eight)


SCORES = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(10))

    def forward(self, x):
        return x + self.bias
"""


def of_scores(cluster: Cluster, data: EvaluationData, name: str, **request: object):
    from nnlite.catalog.model import ModelInput
    from nnlite.vocabulary import ModelFormat

    model = cluster.toys.add(
        "scores", SCORES, inputs=(ModelInput(shape=(1, 10)),), input_shape=None,
        model_format=ModelFormat.PYTHON, entry_point="Net", hyperparameters={},
    ) if not cluster.toys.models() else cluster.toys.models()[0]  # fmt: skip
    return cluster.submit(model.name, name=name, evaluation=data, **request).id


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


@pytest.fixture
def measure(cluster: Cluster, store: ArtifactStore):
    """Measure the queued benchmarks of a campaign on this host."""
    measurement = MeasurementSettings(
        warmup_min_runs=1, warmup_min_s=0, warmup_agreeing_runs=0, min_runs=5, min_s=0, canary_runs=4,
        max_mad_ratio=1e9, max_slice_drift=1e9, max_canary_drift=1e9, warm_init=False,
    )  # fmt: skip
    settings = cluster.settings.model_copy(update={"measurement": measurement})
    device = HostDevice(settings)

    def run(campaign: uuid.UUID) -> None:
        context = WorkerContext(
            engine=cluster.engine,
            broker=cluster.broker,
            owner=living_owner("benchmark@here"),
            settings=settings,
            stopping=lambda: False,
        )
        benchmarker = Benchmarker(context=context, store=store, device=device, stop=threading.Event())
        record_ready(cluster.engine, device.context(), "benchmark@here")
        queued = "SELECT id FROM benchmark WHERE campaign_id = :id AND state = 'queued'"
        for row in cluster.rows(queued, id=campaign):
            ended = run_attempt(context, WorkKind.BENCHMARK, row["id"], benchmarker.run, 2 * HANG_S)
            assert ended is Outcome.DONE

    yield run
    device.close()


def test_an_artifact_is_evaluated_with_each_backend_of_a_device_once(
    cluster, convert, scored, measure, monkeypatch
):
    asked = {"evaluate_on": EvaluateOn.DEVICE, "backends": (Backend.CPU, Backend.CPU_PLAIN)}
    # Known of the host alone: devices have no samples yet.
    assert convert(of_scores(cluster, scored, "host")) is Outcome.DONE
    night = of_scores(cluster, scored, "night", **asked)
    assert convert(night) is Outcome.DONE
    measure(night)

    shown = queries.latencies(cluster.engine, "night")
    assert [row["backend"] for row in shown] == ["cpu", "cpu-plain"]
    for row in shown:
        assert (row["device_samples"], row["device_top1"], row["device_top5"]) == (8, 5 / 8, 6 / 8)
        assert (row["device_no_worse"], row["device_evaluation_reason"]) == (1, None)
        assert (row["top1"], row["evaluated_samples"]) == (5 / 8, 8)
    (stored,) = cluster.rows("SELECT report FROM benchmark WHERE report IS NOT NULL")
    assert [one["accuracy"]["top1"] for one in stored["report"]["measurements"]] == [5 / 8, 5 / 8]

    monkeypatch.setattr(HostDevice, "classify", None)
    again = of_scores(cluster, scored, "again", **asked)
    assert convert(again) is Outcome.DONE
    measure(again)
    assert [row["device_top1"] for row in queries.latencies(cluster.engine, "again")] == [5 / 8, 5 / 8]


def test_a_device_that_fails_with_the_samples_has_its_latency_and_the_reason(
    cluster, convert, scored, measure, monkeypatch
):
    campaign = of_scores(cluster, scored, "night", evaluate_on=EvaluateOn.DEVICE)
    assert convert(campaign) is Outcome.DONE

    def fail(*_: object, **__: object) -> None:
        raise DeviceFailure(Fault.APP_CRASHED, Stage.EVALUATE, "it crashed")

    monkeypatch.setattr(HostDevice, "classify", fail)
    measure(campaign)
    (row,) = queries.latencies(cluster.engine, "night")
    assert row["median_ns"] > 0
    assert (row["device_top1"], row["device_evaluation_reason"]) == (None, "it crashed")


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
