"""Ranges that the profiler reports for the first sample are those that the quantizer reads from tensors."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.case import case
from integration.conversion.test_shortcuts import lowered
from nnlite_conversion.pipeline.quantizing.ranges import of_first

#: Whether the profiler reports all, and a network: with booleans, integers and numbers; with a mask.
NETWORKS = {
    "all reported": (
        True,
        "torch.where(self.conv(x) > 0, self.conv(x).relu(), x.mean()) * self.conv(x).argmax(1, keepdim=True)",
    ),
    "infinite": (False, "self.conv(x).masked_fill(x[:, :1] > 0, float('-inf')).softmax(1)"),
}


def first_ranges(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Return the ranges as nnlite and as the quantizer find them, and how often nnlite ran every tensor."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, quantizer, recipe

    shape = (1, 3, 8, 8)
    assert lowered(case(name, NETWORKS[name][1], shape, init="self.conv = nn.Conv2d(3, 4, 1)"), folder)
    file = str(folder / "net.tflite")
    job = quantizer.Quantizer(file, recipe.static_wi8_ai8())
    ((signature, names),) = Interpreter(model_path=file).get_signature_list().items()
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    sample = {signature: [{names["inputs"][0]: values}]}
    profiler = calibrator.Calibrator(
        job._float_model_buffer,
        num_threads=1,
        mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
    )
    plain = job.calibrate(sample, num_threads=1)
    opened = []
    original = calibrator.tfl_interpreter_utils.create_tfl_interpreter

    def create(*args: Any, **kwargs: Any) -> Any:
        opened.append(args)
        return original(*args, **kwargs)

    calibrator.tfl_interpreter_utils.create_tfl_interpreter = create
    return plain, of_first(job, profiler, sample, threads=1), len(opened)


@pytest.mark.parametrize("name", NETWORKS)
def test_ranges_of_the_first_sample_are_those_of_the_quantizer(name, tmp_path):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        plain, ours, opened = pool.apply(first_ranges, (name, tmp_path))

    assert list(ours) == list(plain) and len(plain) > 3
    for tensor, range_ in plain.items():
        for end in ("min", "max"):
            found, wanted = ours[tensor][end], range_[end]
            assert (found.dtype, found.shape, found.item()) == (wanted.dtype, wanted.shape, wanted.item())
    assert opened == (0 if NETWORKS[name][0] else 1)
