"""The measuring process stays small, and the canary is what its makers say."""

import json
import subprocess
import sys

import numpy as np

from nnlite.settings import MeasurementSettings
from nnlite_benchmark import canary
from nnlite_benchmark.host.runner import RunRequest
from nnlite_benchmark.protocol import Bounds

HEAVY = ("pydantic", "sqlalchemy", "celery", "torch", "numpy", "orjson", "psutil", "nnlite.settings")


def test_the_measuring_process_imports_nothing_heavy():
    script = "import nnlite_benchmark.host.runner, json, sys; print(json.dumps(sorted(sys.modules)))"

    loaded = json.loads(subprocess.check_output([sys.executable, "-c", script], timeout=60))

    assert not set(HEAVY) & set(loaded)


def test_a_request_reaches_the_other_process_as_it_was():
    request = RunRequest(
        artifact="/models/a b.tflite",
        inputs=("/in/0.raw",),
        folder="/out",
        threads=2,
        cores=(),
        bounds=Bounds.of(MeasurementSettings()),
        parent_pid=7,
    )

    back = RunRequest.from_json(request.to_json())

    assert (back.artifact, back.bounds, back.parent_pid) == (request.artifact, request.bounds, 7)
    assert list(back.inputs) == ["/in/0.raw"]


def test_the_canary_is_small_and_its_expected_output_is_not_trivial():
    expected = np.frombuffer(canary.EXPECTED_FILE.read_bytes(), "<f4").reshape(canary.OUTPUT_SHAPE)

    assert canary.MODEL_FILE.stat().st_size < 10_000
    assert np.isfinite(expected).all()
    assert np.ptp(expected) > 1
