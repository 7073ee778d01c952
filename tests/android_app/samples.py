"""Artifacts that the converter makes of small models or of a sample of LEMUR, in forked children as ever.

`python -m android_app.samples FOLDER` is a program because conversions fork: the
process that does it has one thread and runs nothing else. Its last line names
the files and their precisions.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from integration.conversion.models import network
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import ModelSpec
from nnlite.catalog.selection import select
from nnlite.catalog.sources import load_source
from nnlite.errors import Failure
from nnlite.settings import load_settings
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Precision
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.preload import preload

#: Between them the operators of most networks; the shape is (N, C, H, W).
SMALL = {
    "residual": network(
        "y = F.relu6(self.bn(self.conv(x))); y = F.hardswish(self.deep(F.pad(y, (1, 1, 1, 1)))) + y\n"
        "y = torch.cat([F.max_pool2d(y, 2), F.avg_pool2d(y, 2)], 1)\n"
        "return torch.softmax(self.head(y.mean((2, 3))), 1)",
        "n = torch.nn; self.conv = n.Conv2d(3, 8, 3, padding=1); self.bn = n.BatchNorm2d(8)\n"
        "self.deep = n.Conv2d(8, 8, 3, groups=8); self.head = n.Linear(16, 10)",
    ),
    "attention": network(
        "t = self.norm(self.patch(x).flatten(2).transpose(1, 2))\n"
        "t = t + self.attention(t, t, t, need_weights=False)[0]\n"
        "return self.head(F.gelu(self.mlp(t))[:, 0])",
        "n = torch.nn; self.patch = n.Conv2d(3, 16, 4, 4); self.norm = n.LayerNorm(16)\n"
        "self.attention = n.MultiheadAttention(16, 2, batch_first=True)\n"
        "self.mlp = n.Linear(16, 32); self.head = n.Linear(32, 10)",
    ),
    "segmentation": network(
        "y = F.leaky_relu(self.down(x), 0.1); y = self.up(y) * torch.sigmoid(self.gate(x))\n"
        "y = F.interpolate(y, scale_factor=2, mode='bilinear', align_corners=False)\n"
        "return torch.tanh(y), F.interpolate(y, scale_factor=2, mode='nearest').amax((2, 3))",
        "n = torch.nn; self.down = n.Conv2d(3, 8, 3, 2, 1); self.gate = n.Conv2d(3, 4, 1)\n"
        "self.up = n.ConvTranspose2d(8, 4, 2, 2)",
    ),
    "recurrent": network(
        "y, _ = self.lstm(x.mean(2).transpose(1, 2)); return self.head(y[:, -1]).log_softmax(1)",
        "self.lstm = torch.nn.LSTM(3, 8, batch_first=True); self.head = torch.nn.Linear(8, 10)",
    ),
}

#: A runtime that accepts an artifact does not ask how well it was calibrated.
CALIBRATION = Calibration(kind=CalibrationKind.SKLEARN, samples=8)


def small_models() -> Iterator[ModelSpec]:
    """Return the small models."""
    for name, code in SMALL.items():
        yield ModelSpec(
            name=name,
            code=code,
            transform_code=None,
            transform=None,
            task="img-classification",
            dataset="cifar-10",
            hyperparameters={"lr": 0.1},
            input_shape=(1, 3, 16, 16),
            input_dtype="float32",
            classes=10,
            weights="init:seed=0",
        )


def lemur_models(count: int, seed: int) -> Iterator[ModelSpec]:
    """Return a seeded uniform sample of LEMUR."""
    source = load_source("lemur", load_settings())
    for model in select(source.models(), limit=count, seed=seed):
        yield ModelSpec(
            name=model.name,
            code=source.code(model),
            transform_code=source.transform_code(model),
            transform=model.transform,
            task=model.task,
            dataset=model.dataset,
            hyperparameters=dict(model.hyperparameters),
            input_shape=model.input_shape,
            input_dtype=model.input_dtype,
            classes=model.classes,
            weights=model.weights,
        )


def make(models: Iterator[ModelSpec], folder: Path, wanted: Sequence[Precision]) -> dict[str, Precision]:
    """Convert each model to the precisions; those that cannot be converted are named and left out."""
    precisions: dict[str, Precision] = {}
    with tempfile.TemporaryDirectory(prefix="nnlite-samples-") as scratch:
        place = Path(scratch)
        # The account that model code runs as has to enter it.
        place.chmod(0o755)
        for model in models:
            job = ConversionJob(
                model=model,
                precisions=tuple(wanted),
                max_parameters=200_000_000,
                calibration=CALIBRATION,
            )
            try:
                with convert(job, ConversionSettings(), workdir=place, tick=lambda stage: True) as outcome:
                    for artifact in outcome.artifacts:
                        name = f"{model.name}.{artifact.precision}.tflite"
                        (folder / name).write_bytes(artifact.path.read_bytes())
                        precisions[name] = artifact.precision
                    for refused in outcome.refused:
                        print(f"{model.name} in {refused.precision}: {refused.reason[:200]}", file=sys.stderr)
            except Failure as failure:
                print(f"{model.name} is not converted: {failure.reason[:200]}", file=sys.stderr)
    return precisions


def main() -> None:
    """Make the artifacts and say which."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lemur", type=int, default=0, help="so many models of LEMUR; 0: the small ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", type=Precision, action="append", help="again for several; all if none")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    preload()
    models = lemur_models(arguments.lemur, arguments.seed) if arguments.lemur else small_models()
    print(json.dumps(make(models, arguments.folder, arguments.precision or tuple(Precision))))


if __name__ == "__main__":
    main()
