"""Quantized files are the same with shortcut `weights` and without."""

import multiprocessing
from pathlib import Path

import numpy as np

from atlas.case import case
from integration.conversion.test_shortcuts import lowered
from nnlite.vocabulary import Int8Io, Precision, Shortcut
from nnlite_conversion.pipeline.lowering import fast_lowering
from nnlite_conversion.pipeline.making import quantize, ways
from nnlite_conversion.pipeline.quantizing.data import Data

#: Weights large and small, one of two layers, and values that are infinite.
WEIGHTS = case(
    "weights",
    "self.last(torch.log(F.relu(self.shared(self.shared(self.up(self.dw(self.conv(x))).flatten(2)))) - 1))",
    (1, 16, 12, 25),
    init=(
        "self.conv, self.dw = nn.Conv2d(16, 72, 3), nn.Conv2d(72, 72, 3, groups=72, padding=1)\n"
        "self.up = nn.ConvTranspose2d(72, 72, (1, 2), (1, 2))\n"
        "self.shared, self.last = nn.Linear(460, 460), nn.Linear(460, 3)"
    ),
)


def quantized(folder: Path) -> dict[tuple[str, int], list[bytes]]:
    """Return the files of each way to quantize a network, with shortcut `weights` and without."""
    assert lowered(WEIGHTS, folder, Shortcut.LINEAR_LAYERS)
    (shape,) = (each.shape for each in WEIGHTS.inputs)
    samples = [(np.random.default_rng(seed).normal(size=shape).astype(np.float32),) for seed in range(3)]
    data = Data(samples=samples, why_none=None, int8_io=Int8Io.FLOAT, threads=1)
    files: dict[tuple[str, int], list[bytes]] = {}
    for shortcuts in ([Shortcut.WEIGHTS], []):
        fast_lowering.use(shortcuts)
        for precision in (Precision.FP16, Precision.DYNAMIC, Precision.INT8):
            for number, way in enumerate(ways(precision)):
                quantize(way, folder / "net.tflite", folder / "quantized.tflite", data)
                files.setdefault((precision, number), []).append((folder / "quantized.tflite").read_bytes())
    return files


def test_quantized_files_are_the_same(tmp_path):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        files = pool.apply(quantized, (tmp_path,))

    assert len(files) == 5
    assert [way for way, (fast, plain) in files.items() if fast != plain] == []
