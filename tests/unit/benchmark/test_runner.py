"""The measuring process imports little, and the canary's files are as documented."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnlite.settings.groups import MeasurementSettings
from nnlite_benchmark.host.runner import RunRequest
from nnlite_benchmark.protocol import canary
from nnlite_benchmark.protocol.gating import Gate
from nnlite_benchmark.protocol.runs import Bounds
from waiting import HANG_S

HEAVY = ("pydantic", "sqlalchemy", "celery", "torch", "numpy", "orjson", "psutil", "nnlite.settings")


@pytest.mark.process
def test_the_measuring_process_imports_nothing_heavy():
    script = "import nnlite_benchmark.host.runner, json, sys; print(json.dumps(sorted(sys.modules)))"

    loaded = json.loads(subprocess.check_output([sys.executable, "-c", script], timeout=HANG_S))

    assert not set(HEAVY) & set(loaded)


FORGETFUL = Path(__file__).parent / "programs" / "forget_peak.py"


@pytest.mark.process
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(),
    reason="no /proc/self/clear_refs, which resets the peak of memory",
)
def test_a_peak_from_before_the_model_is_not_counted():
    forgotten_kb = int(subprocess.check_output([sys.executable, FORGETFUL], timeout=HANG_S))

    assert forgotten_kb > 150_000


def test_a_request_survives_serialization():
    request = RunRequest(
        artifact="/models/a b.tflite",
        inputs=("/in/0.raw",),
        folder="/out",
        threads=2,
        cores=(),
        bounds=Bounds.of(MeasurementSettings()),
        gate=Gate.of(MeasurementSettings(), 200_000),
        parent_pid=7,
    )

    back = RunRequest.from_json(request.to_json())

    assert (back.artifact, back.bounds, back.parent_pid) == (request.artifact, request.bounds, 7)
    assert back.gate == request.gate
    assert list(back.inputs) == ["/in/0.raw"]


def test_the_canary_is_small_and_its_expected_output_is_not_trivial():
    expected = np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4").reshape(canary.OUTPUT_SHAPE)

    assert canary.MODEL_FILE.stat().st_size < 10_000
    assert canary.GATE_FILE.stat().st_size < 10_000
    assert np.isfinite(expected).all()
    assert np.ptp(expected) > 1
