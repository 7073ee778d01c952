"""Explains an artifact's parity: has a process of the conversion worker compare it operator by operator."""

import os
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from nnlite.artifacts.calibration import Calibration, pack
from nnlite.catalog.model import CatalogModel, ModelDefinition, ModelSource
from nnlite.errors import NnliteError
from nnlite.settings import Settings
from nnlite.settings.passwords import without_credentials
from nnlite.vocabulary import ModelFormat, Precision

Explanation = dict[str, Any]

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class ExplanationError(NnliteError):
    """The parity of a model cannot be explained; the message says why."""


def explain_parity(
    model: CatalogModel,
    source: ModelSource,
    precision: Precision,
    settings: Settings,
    *,
    calibration: Calibration | None = None,
    calibration_source: Path | None = None,
) -> Explanation:
    """Convert `model` in a sandbox and return where its artifact departs from PyTorch's graph.

    Args:
        model: one that can be converted.
        source: of the model.
        precision: of the artifact.
        settings: limits and isolation of the conversion.
        calibration: of a quantized precision; None: it needs none.
        calibration_source: the user's folder or file; None where the calibration needs none.

    Returns:
        The fields of `nnlite_conversion.outcome.ParityExplanation`, as JSON values.

    Raises:
        ExplanationError: the model is skipped, has no network, or cannot be converted.
        CalibrationError: the user's data cannot be used.
    """
    if model.skipped is not None:
        raise ExplanationError(f"{model.name} is skipped: {model.skipped}")
    if model.model_format is ModelFormat.PREBUILT:
        raise ExplanationError(f"{model.name} is a .tflite file: there is no network to compare it with")
    with tempfile.TemporaryDirectory(prefix="nnlite-calibration-") as folder:
        packed = None
        if calibration is not None and calibration_source is not None:
            packed = Path(folder, "samples.zip")
            pack(calibration, calibration_source, packed)
        job = {
            "model": _definition(model, source),
            "model_file": source.weights_file(model) if model.weights_suffix else None,
            "precisions": [precision],
            "calibration": calibration and calibration.as_dict(),
            "calibration_file": packed,
            "max_parameters": settings.catalog.max_parameters,
            "variable_size": settings.catalog.variable_size,
        }
        return _answer(orjson.dumps(job, default=str))


def _definition(model: CatalogModel, source: ModelSource) -> dict[str, Any]:
    """Return the fields of the model's `ModelSpec`."""
    return {each.name: getattr(model, each.name) for each in fields(ModelDefinition)} | {
        "code": source.code(model) if model.code_sha256 else None,
        "transform_code": source.transform_code(model) if model.transform_sha256 else None,
    }


def _answer(job: bytes) -> Explanation:
    # No deadline here: the process applies those of a conversion.
    process = subprocess.run(
        [sys.executable, "-P", "-m", "nnlite_conversion.explain_parity"],
        input=job,
        capture_output=True,
        env=without_credentials(os.environ) | _ONE_THREAD,
        check=False,
    )
    try:
        answer: Explanation = orjson.loads(process.stdout)
    except orjson.JSONDecodeError:
        last = process.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ExplanationError(f"the conversion ended without an answer: {last}") from None
    if "error" in answer:
        raise ExplanationError(answer["error"])
    return answer
