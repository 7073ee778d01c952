"""Identities and cache keys in a form that is small enough to be kept: digests of all, and some in full.

A deliberate change is recorded with `PYTHONPATH=tests .venv/bin/python -m unit.catalog.identities`; it makes
every artifact that users have in their caches unknown.
"""

import hashlib
import json
import os
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.files.source import FilesSource
from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.model import CatalogModel
from nnlite.catalog.nngpt.source import NnGptSource
from nnlite.settings import Settings
from nnlite.settings.groups import CatalogSettings
from nnlite.vocabulary import Int8Io, Precision
from nnlite_conversion.cache_key import cache_key, converter_tag, prebuilt_key

#: Precisions whose keys were recorded; later ones have keys of their own.
_RECORDED = (Precision.FP32, Precision.FP16, Precision.DYNAMIC, Precision.INT8)

RECORDED = Path(__file__).with_name("recorded") / "identities.json"
#: Libraries as they were when the keys were recorded: another version makes other keys, and rightly.
VERSIONS = {
    "torch": "2.13.0",
    "litert-torch": "0.10.0",
    "litert-converter": "0.5.0",
    "ai-edge-quantizer": "0.10.0",
    "ai-edge-litert": "2.3.0",
}
#: Models per digest, so that a difference is narrowed down to a hundred of them.
PART = 100
#: Models of LEMUR whose identities are recorded one by one.
SAMPLES = 20
#: Architectures of which every configuration is listed: a part of LEMUR, for the whole takes half a minute.
CONFIGURED = (
    "AlexNet", "BagNet", "DarkNet", "FractalNet", "LRASPP", "MobileNetV3", "ResNet", "SwinTransformer",
    "UNet2D", "VGG", "VisionTransformer", "ga-mut-113",
)  # fmt: skip

_NET = """import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, width=8):
        super().__init__()


def make():
    return Small(4)
"""
_GENERATED = """import torch


def supported_hyperparameters():
    return {'lr', 'momentum'}


class Net(torch.nn.Module):
    pass
"""


def settings_for(home: Path, lemur: Path | None = None) -> Settings:
    """Return settings with every default, whatever the environment says."""
    return Settings(home=home, lemur=lemur, catalog=CatalogSettings(), _env_file=None)


def lemur_record(models: Iterable[CatalogModel]) -> dict[str, Any]:
    """Return what is recorded of all models of LEMUR."""
    ordered = sorted(models, key=lambda model: model.name)
    parts = [ordered[start : start + PART] for start in range(0, len(ordered), PART)]
    return {
        "models": len(ordered),
        "parts": {part[0].name: digest(map(_identity_line, part))[:16] for part in parts},
        "identities": digest(map(_identity_line, ordered)),
        "cache_keys": digest(map(_key_line, ordered)),
        "samples": identities(ordered[:: len(ordered) // SAMPLES][:SAMPLES]),
        "cache_keys_of_first": keys_of(ordered[0].identity),
    }


def configuration_record(models: Iterable[CatalogModel]) -> dict[str, Any]:
    """Return what is recorded of architectures with several configurations: how many, and a digest."""
    by_architecture: dict[str, list[CatalogModel]] = {}
    for model in models:
        by_architecture.setdefault(model.name.partition("@")[0], []).append(model)
    return {
        name: {"configurations": len(each), "identities": digest(sorted(map(_identity_line, each)))}
        for name, each in by_architecture.items()
    }


def identities(models: Iterable[CatalogModel]) -> dict[str, str]:
    """Return the identity of each model by its name."""
    return {model.name: model.identity for model in models}


def keys_of(identity: str) -> dict[str, str]:
    """Return every key that an artifact of the model may have in the conversion cache."""
    sklearn = Calibration(kind=CalibrationKind.SKLEARN)
    images = Calibration(
        kind=CalibrationKind.IMAGES, samples=16, seed=7, name="pictures", path="ab/" + "ab" * 32 + ".zip"
    )
    return {precision.value: cache_key(identity, precision) for precision in _RECORDED} | {
        "int8 sklearn": cache_key(identity, Precision.INT8, sklearn),
        "int8 images integer": cache_key(identity, Precision.INT8, images, Int8Io.INTEGER),
        "fp32 beside int8": cache_key(identity, Precision.FP32, sklearn, Int8Io.INTEGER),
        "prebuilt": prebuilt_key(identity),
    }


@contextmanager
def with_recorded_versions() -> Iterator[None]:
    """Let the libraries seem to have the recorded versions inside the block."""
    converter_tag.cache_clear()
    with mock.patch.object(sys.modules[cache_key.__module__], "version", VERSIONS.__getitem__):
        yield
    converter_tag.cache_clear()


def configurations(archive: Path, folder: Path) -> list[CatalogModel]:
    """Return every configuration of some architectures, from a copy of LEMUR that has no others."""
    copy = folder / "lemur.whl"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(copy, "w") as part:
        for name in whole.namelist():
            if _belongs(name):
                part.writestr(name, whole.read(name))
    return LemurSource(settings_for(folder / "home", copy), configs="all").models()


def generated_models(folder: Path) -> list[CatalogModel]:
    """Return models of an NN-GPT tree: as generated, as evaluated on something else, and ready."""
    epoch = folder / "out" / "nngpt" / "llm" / "epoch" / "A0" / "synth_nn"
    for tag, noted in (("B0", {}), ("B1", {"dataset": "cifar-100", "transform": "norm_64"}), ("B2", {})):
        (epoch / tag).mkdir(parents=True)
        (epoch / tag / "new_nn.py").write_text(f"# {tag}\n{_GENERATED}")
        (epoch / tag / "hp.txt").write_text(json.dumps({"lr": 0.01, "batch": 16, "momentum": 0.9}))
        evaluated = {"eval_results": {"accuracy": 0.5}, "cli_args": noted}
        (epoch / tag / "eval_info.json").write_text(json.dumps(evaluated))
    ready = folder / "out" / "edge" / "tflite" / "A0_B2.tflite"
    ready.parent.mkdir(parents=True)
    ready.write_bytes(_tflite())
    settings = settings_for(folder / "home")
    return [model for path in (folder, ready.parent) for model in NnGptSource(settings, path=[path]).models()]


def file_models(folder: Path) -> list[CatalogModel]:
    """Return models of files of every kind."""
    for name in ("bare", "trained", "described"):
        (folder / f"{name}.py").write_text(_NET)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "trained.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    (folder / "described.toml").write_text(
        'inputs = ["1x3x8x8", "1x5:int64"]\nfactory = "make"\nlayout = "as-is"\ntask = "img-classification"\n'
    )
    with zipfile.ZipFile(folder / "exported.pt2", "w") as archive:
        archive.writestr(zipfile.ZipInfo("exported/models/model.json"), b"x")
    (folder / "prebuilt.tflite").write_bytes(_tflite())
    return FilesSource(settings_for(folder / "home"), path=(folder,), input=("1x3x8x8",)).models()


def digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 of some lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _identity_line(model: CatalogModel) -> str:
    return f"{model.name} {model.identity}"


def _key_line(model: CatalogModel) -> str:
    return f"{model.name} {' '.join(keys_of(model.identity).values())}"


def _belongs(name: str) -> bool:
    path = Path(name)
    if name.startswith("ab/nn/nn/"):
        return path.stem in (*CONFIGURED, "__init__")
    if name.startswith("ab/nn/stat/train/"):
        return path.name == "1.json" and path.parent.name.split("_", 3)[-1] in CONFIGURED
    return name.startswith("ab/nn/transform/")


def _tflite() -> bytes:
    return struct.pack("<I", 8) + b"TFL3" + bytes(8)


def _record(archive: Path, folder: Path) -> Mapping[str, Any]:
    for name in ("configurations", "nngpt", "files"):
        (folder / name).mkdir()
    return {
        "lemur": lemur_record(LemurSource(settings_for(folder / "home", archive)).models()),
        "configurations": configuration_record(configurations(archive, folder / "configurations")),
        "nngpt": identities(generated_models(folder / "nngpt")),
        "files": identities(file_models(folder / "files")),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary, with_recorded_versions():
        recording = _record(Path(os.environ["NNLITE_LEMUR"]), Path(temporary))
    RECORDED.write_text(json.dumps(recording, indent=1) + "\n")
