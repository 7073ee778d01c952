"""What the tests of benchmarks on this machine share."""

import os
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from android_app.runtime_match import LIBRARY
from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings, RuntimeCheckSettings
from nnlite.vocabulary import Precision
from nnlite_benchmark.device import BenchmarkJob, InputSpec
from nnlite_benchmark.host import device as host_device
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.host.launching import ForkServer
from nnlite_benchmark.host.runner import RunRequest
from nnlite_benchmark.protocol import canary, measuring
from nnlite_benchmark.protocol.runs import Bounds

# A noisy machine must not fail these tests: spread, drift and canary are never judged here.
LENIENT = {"max_mad_ratio": 1e9, "max_slice_drift": 1e9, "max_canary_drift": 1e9, "gated": False}
QUICK = {
    "warmup_min_runs": 1,
    "warmup_min_s": 0,
    "warmup_agreeing_runs": 0,
    "min_runs": 10,
    "min_s": 0,
    "canary_runs": 4,
    **LENIENT,
}
QUICK_BOUNDS = MeasurementSettings(**QUICK).model_dump()


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A fork server whose runs are those of many tests: its start takes many times as long as a run."""
    server = ForkServer(huge_pages=True)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def one_fork_server(fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let devices leave the fork server to the next test."""
    shared = SimpleNamespace(launch=fork_server.launch, close=lambda: None)
    monkeypatch.setattr(host_device, "ForkServer", lambda **_: shared)


@pytest.fixture
def steady_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the canary be right and steady without running it, which takes two processes a measurement."""
    monkeypatch.setattr(measuring, "canary_ns", lambda *_, **__: 1_000_000)


@pytest.fixture
def make_device(tmp_path):
    made = []

    def make(on_stage=lambda stage, pid: None, **measurement):
        settings = Settings(
            home=tmp_path / "home",
            measurement=MeasurementSettings(**(QUICK | measurement)),
            runtime_check=RuntimeCheckSettings(library=LIBRARY),
        )
        made.append(HostDevice(settings, on_stage=on_stage))
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def job():
    return BenchmarkJob(
        artifact=canary.MODEL_FILE,
        artifact_sha256="c" * 64,
        model_name="Canary",
        precision=Precision.FP32,
        inputs=(InputSpec(name="t0", shape=canary.INPUT_SHAPE, dtype="float32"),),
        seed=canary.SEED,
        expected_outputs=(canary.EXPECTED_FILE,),
    )


@pytest.fixture
def make_request(tmp_path, job):
    def make(**bounds):
        file = tmp_path / "input.raw"
        file.write_bytes(np.zeros(canary.INPUT_SHAPE, "<f4").tobytes())
        return RunRequest(
            artifact=str(job.artifact),
            inputs=(str(file),),
            folder=str(tmp_path),
            threads=1,
            cores=(),
            bounds=Bounds.of(QUICK_BOUNDS | bounds),
            parent_pid=os.getpid(),
        )

    return make
