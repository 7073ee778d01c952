"""Keys of the conversion cache: SHA-256 over everything that decides the bytes of an artifact."""

import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

from nnlite.artifacts.calibration import Calibration, Int8Io
from nnlite.catalog.model import canonical_json
from nnlite.vocabulary import Precision

#: Increase when a change of the conversion itself changes artifacts.
GENERATION = 1
#: Names of the rewrites, whose functions `pipeline.lowering.rewrites` lists. They are repeated here so that
#: the worker can compute keys without importing torch.
REWRITES = ("adaptive_max_pool2d", "high_rank_linear")
_LIBRARIES = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer")


@cache
def converter_tag() -> str:
    """Return the versions of the libraries and our rewrites: an artifact's column `converter`."""
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    return ", ".join([*libraries, f"nnlite {GENERATION} ({' '.join(sorted(REWRITES))})"])


@cache
def runtime_tag() -> str:
    """Return the version of the runtime that runs pre-built files: their column `converter`."""
    return f"none; run by ai-edge-litert {version('ai-edge-litert')}"


def prebuilt_key(identity: str) -> str:
    """Return the key of a pre-built file (SHA-256, hexadecimal); it does not depend on the converter."""
    return hashlib.sha256(canonical_json({"identity": identity, "ready": runtime_tag()})).hexdigest()


def cache_key(
    identity: str,
    precision: Precision,
    calibration: Calibration | None = None,
    int8_io: Int8Io = Int8Io.FLOAT,
) -> str:
    """Return the key of a model's artifact in one precision (SHA-256, hexadecimal).

    Args:
        calibration: affects int8 only.
        int8_io: affects int8 only.
    """
    parts: dict[str, Any] = {"identity": identity, "precision": precision, "converter": converter_tag()}
    if precision is Precision.INT8:
        parts |= {"calibration": calibration and calibration.key(), "int8_io": int8_io}
    return hashlib.sha256(canonical_json(parts)).hexdigest()
