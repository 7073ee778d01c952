"""A process that has preloaded, and tiny models to convert in forks of it."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from nnlite.catalog.model import ModelSpec
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Precision
from nnlite_conversion import single_job
from nnlite_conversion.isolation.huge_pages import into_huge_pages
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.preload import preload
from waiting import HANG_S

# At import and not in a fixture: other libraries' imports warn, and warnings are errors in tests.
preload()
importlib.import_module("sklearn.datasets")  # or else every child that calibrates imports it
into_huge_pages()  # as the fork server is: a conversion takes 0.1 s of processor time less


@pytest.fixture(autouse=True)
def every_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let conversions use all samples, however long a slow machine takes for them."""
    monkeypatch.setattr("nnlite_conversion.pipeline.references.MAX_REFERENCE_S", HANG_S)
    monkeypatch.setattr("nnlite_conversion.pipeline.quantizing.ranges.MAX_CALIBRATION_S", HANG_S)


@pytest.fixture
def settings() -> ConversionSettings:
    return ConversionSettings(timeout_s=HANG_S, absolute_timeout_s=2 * HANG_S, memory_limit_mb=4096)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the folder of conversions, empty again at the end whatever happened in it."""
    folder = tmp_path / "conversions"
    yield folder
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert left == [], "a conversion left files behind"


@pytest.fixture
def jobs_in_forks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let commands have their jobs done by forks of this process, not by one that imports PyTorch first."""
    job, answer = tmp_path / "job.json", tmp_path / "answer.json"

    def answer_of(task: str, fields: dict[str, Any]) -> dict[str, Any]:
        job.write_bytes(orjson.dumps(fields, default=str))
        if (pid := os.fork()) == 0:
            try:
                sys.stdin = job.open()
                os.dup2(os.open(answer, os.O_WRONLY | os.O_CREAT), 1)
                single_job.main(task)
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
        return orjson.loads(answer.read_bytes())

    monkeypatch.setattr("nnlite.cli.preflight.answer_of", answer_of)
    monkeypatch.setattr("nnlite.diagnostics.single_job.answer_of", answer_of)


@pytest.fixture
def job() -> Callable[..., ConversionJob]:
    def make(code: str, *, shape=(1, 3, 8, 8), max_parameters=1000, precisions=(Precision.FP32,)):
        spec = ModelSpec(
            name="tiny",
            code=code,
            transform_code=None,
            transform=None,
            task="img-classification",
            dataset="cifar-10",
            hyperparameters={"lr": 0.1},
            input_shape=shape,
            input_dtype="float32",
            classes=4,
            weights="init:seed=0",
        )
        return ConversionJob(model=spec, precisions=precisions, max_parameters=max_parameters)

    return make
