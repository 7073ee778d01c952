"""What a user asks for: words, names of campaigns, priorities."""

from dataclasses import replace
from pathlib import Path

import pytest

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.campaigns.checks import check_request
from nnlite.campaigns.request import Request, RequestError
from nnlite.cli.parsing import selection
from nnlite.cli.parsing.words import chosen
from nnlite.errors import UsageError
from nnlite.settings import Settings
from nnlite.vocabulary import Backend, Int8Io, Precision

SAMPLE = Request(limit=20, seed=1)


def test_the_same_request_has_the_same_name():
    assert Request(limit=20, seed=1).default_name() == SAMPLE.default_name()
    assert SAMPLE.default_name().startswith("lemur-20-")
    assert Request().default_name().startswith("lemur-")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"match": "ga-*"},
        {"models": ("BagNet",)},
        {"pools": ("pixel4-api30",)},
        {"backends": (Backend.CPU, Backend.GPU)},
        {"precisions": (Precision.INT8,)},
        {"transform": "norm_256"},
        {"dataset": "mnist"},
        {"path": ("/models",)},
        {"configs": "all"},
        {"threads": (1, 2)},
        {"profile": True},
        {"sustained": 300},
        {"cores": "fast"},
        {"energy": 60},
        {"counters": 20},
    ],
)
def test_another_request_has_another_name(change):
    assert replace(SAMPLE, **change).default_name() != SAMPLE.default_name()


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (SAMPLE, "lemur-20-15cbcbd4"),
        (Request(), "lemur-838102c8"),
        (Request(match="ga-*", limit=100, seed=1), "lemur-100-cdc6829c"),
        (Request(configs="all", dataset="cifar-10", transform="norm_64"), "lemur-0eabea10"),
        (
            Request(source="files", path=("/srv/net.py",), inputs=("1x3x8x8",), layout="as-is"),
            "files-15275bda",
        ),
        (
            Request(
                models=("AlexNet", "DarkNet"),
                precisions=(Precision.FP32, Precision.INT8),
                calibration=Calibration(kind=CalibrationKind.SKLEARN),
                int8_io=Int8Io.INTEGER,
                backends=(Backend.CPU, Backend.GPU),
                pools=("phones",),
            ),
            "lemur-a7ede31d",
        ),
    ],
)
def test_a_request_has_the_name_that_earlier_releases_gave_it(request_, name):
    assert request_.default_name() == name


def test_defaults_are_omitted_from_a_request():
    assert "configs" not in SAMPLE.as_dict()


def test_a_relative_path_is_stored_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert selection.absolute([Path("models")]) == (str(tmp_path / "models"),)


def test_backends_and_precisions_are_named_one_by_one_or_with_commas():
    assert chosen(Backend, "--backend", ["gpu, cpu", "gpu"]) == (Backend.GPU, Backend.CPU)
    assert chosen(Precision, "--precision", ["fp32", "int8"]) == (Precision.FP32, Precision.INT8)
    assert chosen(Backend, "--backend", None) == ()


@pytest.mark.parametrize("word", ["tpu", "CPU", "cpu;gpu"])
def test_an_unknown_backend_is_refused_with_those_that_are(word):
    with pytest.raises(UsageError, match=f"--backend '{word}' is none of cpu, gpu, npu"):
        chosen(Backend, "--backend", ["cpu", word])


def test_threads_are_named_one_by_one_or_with_commas_and_ordered():
    assert selection.parse_threads(["4,1", "2", "1"], [Backend.CPU, Backend.GPU]) == (1, 2, 4)
    assert selection.parse_threads([], [Backend.GPU]) == ()


@pytest.mark.parametrize(
    ("values", "backends", "why"),
    [
        (["two"], [Backend.CPU], "--threads 'two' is no number of threads; write --threads 1,2,4"),
        ([","], [Backend.CPU], "--threads ',' is no number of threads"),
        ([""], [Backend.CPU], "--threads '' is no number of threads"),
        (["9" * 5000], [Backend.CPU], f"--threads '{'9' * 40}' is no number of threads"),
        (["-1"], [Backend.CPU], "--threads '-1' is no number"),
        (["0,1"], [Backend.CPU], "--threads 0 is not within 1-1024"),
        (["1,1025"], [Backend.CPU], "--threads 1025 is not within 1-1024"),
        (
            ["2"],
            [Backend.GPU],
            r"--threads is for backends on the CPU \(cpu, cpu-plain, .*executorch\); add",
        ),
        ([",".join(map(str, range(1, 18)))], [Backend.CPU], "names 17 numbers, at most 16 are measured"),
    ],
)
def test_threads_that_cannot_be_measured_are_refused(values, backends, why):
    with pytest.raises(RequestError, match=why):
        selection.parse_threads(values, backends)


@pytest.mark.parametrize("priority", [-1, 10, 100])
def test_a_priority_out_of_range_is_refused(priority):
    with pytest.raises(RequestError, match=f"priority {priority} is not within 0-9"):
        asked_with(priority)


def test_priorities_are_0_to_9():
    assert {asked_with(priority) for priority in range(10)} == {SAMPLE.default_name()}


def asked_with(priority: int) -> str:
    return check_request(SAMPLE, (), name=None, priority=priority, settings=Settings(), growing=True)
