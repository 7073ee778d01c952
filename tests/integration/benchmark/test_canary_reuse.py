"""The canary after one measurement is the one before the next, with real measuring processes."""

import itertools
import threading
from dataclasses import replace

import pytest

from nnlite.settings import Settings
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Precision
from nnlite_benchmark.device import BenchmarkJob, InputSpec, RuntimeRefusal
from nnlite_benchmark.host.device import HostDevice
from nnlite_benchmark.protocol import canary, measuring

NEVER = threading.Event()
QUICK = {
    "warmup_min_runs": 1,
    "warmup_min_s": 0,
    "warmup_agreeing_runs": 0,
    "min_runs": 10,
    "min_s": 0,
    "canary_runs": 4,
    "gated": False,
}


@pytest.fixture
def job():
    return BenchmarkJob(
        artifact=canary.MODEL_FILE,
        artifact_sha256=canary.MODEL_SHA256,
        model_name="Canary",
        precision=Precision.FP32,
        inputs=(InputSpec(name="input", shape=canary.INPUT_SHAPE, dtype="float32"),),
        seed=canary.SEED,
    )


@pytest.fixture
def make_device(tmp_path):
    made = []

    def make(**measurement):
        settings = Settings(home=tmp_path / "home", measurement=MeasurementSettings(**(QUICK | measurement)))
        made.append(HostDevice(settings))
        return made[-1]

    yield make
    for device in made:
        device.close()


def test_the_canary_after_a_measurement_is_the_one_before_the_next(make_device, job, monkeypatch):
    ran_ns = itertools.count(1000)
    monkeypatch.setattr(measuring, "canary_ns", lambda *_, **__: next(ran_ns))
    device = make_device(max_canary_drift=1e9)

    reports = [device.run(job, Backend.CPU, stop=NEVER) for _ in range(2)]
    device.check()
    reports.append(device.run(job, Backend.CPU, stop=NEVER))

    canaries = [report.canary for report in reports]
    assert [(c.before_p25_ns, c.after_p25_ns, c.reused) for c in canaries] == [
        (1000, 1001, False),
        (1001, 1002, True),
        (1003, 1004, False),
    ]


def test_no_canary_is_used_again_after_a_refusal_or_a_drift(make_device, job, tmp_path, monkeypatch):
    ran_ns = iter([1000, 1001, 1002, 2000, 2001, 3000, 4000, 4001])
    monkeypatch.setattr(measuring, "canary_ns", lambda *_, **__: next(ran_ns))
    device = make_device(max_canary_drift=0.1)
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"")

    with pytest.raises(RuntimeRefusal):
        device.run(replace(job, artifact=broken), Backend.CPU, stop=NEVER)
    reports = [device.run(job, Backend.CPU, stop=NEVER) for _ in range(3)]

    canaries = [report.canary for report in reports]
    assert [(c.before_p25_ns, c.after_p25_ns, c.repeated, c.reused) for c in canaries] == [
        (1001, 1002, False, False),
        (2000, 2001, True, False),
        (3000, 4000, True, False),
    ]
