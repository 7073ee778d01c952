"""The canary after one measurement is the one before the next, with real measuring processes."""

import itertools
import threading
from dataclasses import replace

import pytest

from nnlite.vocabulary import Backend
from nnlite_benchmark.device import RuntimeRefusal
from nnlite_benchmark.protocol import measuring

NEVER = threading.Event()


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
