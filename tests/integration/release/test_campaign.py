"""A campaign that ran when release 0.1 was stopped is finished by the workers of this release."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, RowMapping, text

from integration.release.database import RECORDED, REVISION, load
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.campaigns.request import Request
from nnlite.campaigns.submit import submit
from nnlite.catalog.model import CatalogModel
from nnlite.db.engine import engine_for, upgrade
from nnlite.queue.messages import BrokerClient
from nnlite.reaper.reaper import Reaper
from nnlite.results import queries
from nnlite.settings import Settings
from nnlite.vocabulary import Precision
from toys import Toys
from waiting import HANG_S


@pytest.fixture
def engine(bare_database_url: str) -> Iterator[Engine]:
    """The recorded database, brought to this release."""
    upgrade(bare_database_url, REVISION)
    engine = engine_for(bare_database_url)
    load(engine, (RECORDED / "database.sql").read_text())
    upgrade(bare_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def broker(broker_url: str) -> Iterator[BrokerClient]:
    """The broker, with the messages that release 0.1 had sent and no worker had taken."""
    broker = BrokerClient(broker_url, HANG_S)
    for name, messages in json.loads((RECORDED / "messages.json").read_text()).items():
        broker.redis.rpush(name, *messages)
    yield broker
    broker.close()


def reap(engine: Engine, broker: BrokerClient) -> None:
    """Let the reaper make rounds until leases that have ended are given back."""
    settings = Settings(_env_file=None)
    reaper = Reaper(engine, broker, settings)
    step_s = settings.queue.lease_s / 3
    for number in range(4):
        assert reaper.round(number * step_s)
    reaper.close()


def test_a_running_campaign_is_finished(
    engine: Engine, broker: BrokerClient, bare_database_url: str, broker_url: str
) -> None:
    assert [broker.ready(queue) for queue in ("convert", "benchmark.host")] == [3, 2]
    paused = queries.campaigns(engine, "paused")
    reap(engine, broker)
    # One conversion and one benchmark were in the hands of workers that are gone.
    assert [broker.ready(queue) for queue in ("convert", "benchmark.phones")] == [4, 1]

    queues = ("convert", "benchmark.phones", "benchmark.host")
    ran = subprocess.run(
        [sys.executable, "-m", "integration.release.worker", bare_database_url, broker_url, *queues],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]

    (progress,) = queries.campaigns(engine, "running")
    models, precisions, pools = 5, 2, 2
    assert (progress.ended, progress.converted, progress.failed) == (True, models, 0)
    assert progress.measured == models * precisions * pools
    assert [broker.ready(queue) for queue in queues] == [0, 0, 0]
    assert queries.campaigns(engine, "paused") == paused
    assert _outcomes(engine, "MobileNetV3") == ["converter", "done"]
    assert _outcomes(engine, "SwinTransformer") == ["released", "done"]
    assert _outcomes(engine, "BayesianNet") == ["lost", "done"]


def test_the_same_request_resumes_its_campaign(engine: Engine, broker: BrokerClient, tmp_path: Path) -> None:
    source = Toys(name="lemur")
    names = ("UNet2D", "MobileNetV3", "SwinTransformer", "BayesianNet", "MoE")
    models = [_model(engine, source, name) for name in names]
    before = queries.campaigns(engine, "running")
    submitted = submit(
        engine,
        broker,
        Request(
            models=names,
            precisions=(Precision.FP32, Precision.INT8),
            pools=("phones", "host"),
            calibration=Calibration(kind=CalibrationKind.SKLEARN),
        ),
        models=models,
        source=source,
        settings=Settings(home=tmp_path, _env_file=None),
        name="running",
        priority=5,
        growing=True,  # it would take every model that it does not know
    )
    assert (submitted.resumed, submitted.models) == (True, len(names))
    assert queries.campaigns(engine, "running") == before
    assert broker.ready("convert") == 3


def _model(engine: Engine, source: Toys, name: str) -> CatalogModel:
    """Return a model as its source lists it, from its columns that are named alike in every release."""
    with engine.connect() as connection:
        row = connection.execute(text(_MODEL), {"name": name}).mappings().one()
    return source.add(name, row["code"].removeprefix(f"# {name}\n"), **_columns(row))


def _columns(row: RowMapping) -> dict[str, Any]:
    columns = (
        "source", "code_sha256", "task", "dataset", "metric", "transform", "transform_sha256",
        "hyperparameters", "configuration_source", "classes", "accuracy",
    )  # fmt: skip
    return {name: row[name] for name in columns} | {"input_shape": tuple(row["input_shape"])}


def _outcomes(engine: Engine, model: str) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text(_OUTCOMES), {"model": model}))


_OUTCOMES = """
SELECT a.outcome FROM attempt a
JOIN conversion v ON v.id = a.work_id
JOIN model m ON m.id = v.model_id
JOIN campaign c ON c.id = v.campaign_id
WHERE m.name = :model AND c.name = 'running' ORDER BY a.number
"""
_MODEL = (
    "SELECT m.*, k.text AS code FROM model m JOIN code k ON k.sha256 = m.code_sha256 WHERE m.name = :name"
)
