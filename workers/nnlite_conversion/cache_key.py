"""The key of the conversion cache: what must be equal for two artifacts to be the same."""

import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

from nnlite.artifacts.calibration import Calibration, Int8Io
from nnlite.catalog.model import canonical_json
from nnlite.vocabulary import Precision
from nnlite_conversion.pipeline.lowering.rewrites import rewrite_names

#: Counts up when the conversion itself changes what comes out.
GENERATION = 1
_LIBRARIES = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer")


@cache
def converter() -> str:
    """Return the libraries, their versions and our rewrites, as they stand with every artifact."""
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    return ", ".join([*libraries, f"nnlite {GENERATION} ({' '.join(sorted(rewrite_names()))})"])


@cache
def reader() -> str:
    """Return what stands in place of a converter with a ready file: what it was run by."""
    return f"none; run by ai-edge-litert {version('ai-edge-litert')}"


def ready_key(identity: str) -> str:
    """Return the key of a file that was ready (SHA-256, hexadecimal): no converter has a part in it."""
    return hashlib.sha256(canonical_json({"identity": identity, "ready": reader()})).hexdigest()


def cache_key(
    identity: str,
    precision: Precision,
    calibration: Calibration | None = None,
    int8_io: Int8Io = Int8Io.FLOAT,
) -> str:
    """Return the key of the artifact of a model in one precision (SHA-256, hexadecimal).

    Args:
        calibration: matters to int8 alone, as does `int8_io`.
    """
    parts: dict[str, Any] = {"identity": identity, "precision": precision, "converter": converter()}
    if precision is Precision.INT8:
        parts |= {"calibration": calibration and calibration.key(), "int8_io": int8_io}
    return hashlib.sha256(canonical_json(parts)).hexdigest()
