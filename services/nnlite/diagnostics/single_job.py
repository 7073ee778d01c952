"""Has a process of the conversion worker do one task for a command, in the sandbox of a conversion."""

import os
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import orjson

from nnlite.artifacts.calibration import Calibration, pack
from nnlite.catalog.model import CatalogModel, ModelDefinition, ModelSource
from nnlite.errors import NnliteError
from nnlite.settings import Settings
from nnlite.settings.passwords import without_credentials
from nnlite.vocabulary import ModelFormat, Precision

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def job_of(
    model: CatalogModel, source: ModelSource, precision: Precision, settings: Settings
) -> dict[str, Any]:
    """Return the fields of `nnlite_conversion.outcome.ConversionJob` for a model.

    Raises:
        NnliteError: the model is skipped, or has no network.
    """
    if model.skipped is not None:
        raise NnliteError(f"{model.name} is skipped: {model.skipped}")
    if model.model_format is ModelFormat.PREBUILT:
        raise NnliteError(f"{model.name} is a .tflite file: there is no network behind it")
    definition = {each.name: getattr(model, each.name) for each in fields(ModelDefinition)}
    return {
        "model": definition
        | {
            "code": source.code(model) if model.code_sha256 else None,
            "transform_code": source.transform_code(model) if model.transform_sha256 else None,
        },
        "model_file": source.weights_file(model) if model.weights_suffix else None,
        "precisions": [precision],
        "max_parameters": settings.catalog.max_parameters,
        "variable_size": settings.catalog.variable_size,
    }


def answer_of(task: Literal["explain", "preflight"], job: dict[str, Any]) -> dict[str, Any]:
    """Have a process of the conversion worker do `task`, and return its answer as JSON values.

    Raises:
        NnliteError: it fails, or ends without an answer.
    """
    # No deadline here: the process applies those of a conversion.
    process = subprocess.run(
        [sys.executable, "-P", "-m", "nnlite_conversion.single_job", task],
        input=orjson.dumps(job, default=os.fspath),
        capture_output=True,
        env=without_credentials(os.environ) | _ONE_THREAD,
        check=False,
    )
    try:
        answer: dict[str, Any] = orjson.loads(process.stdout)
    except orjson.JSONDecodeError:
        last = process.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NnliteError(f"the conversion ended without an answer: {last}") from None
    if "error" in answer:
        raise NnliteError(answer["error"])
    return answer


def explain_parity(
    model: CatalogModel,
    source: ModelSource,
    precision: Precision,
    settings: Settings,
    *,
    calibration: Calibration | None = None,
    calibration_source: Path | None = None,
) -> dict[str, Any]:
    """Convert `model` in a sandbox and return where its artifact departs from PyTorch's graph.

    Args:
        calibration: of a quantized precision; None: it needs none.
        calibration_source: the user's folder or file; None where the calibration needs none.

    Returns:
        The fields of `nnlite_conversion.messages.Explanation`, as JSON values.

    Raises:
        NnliteError: the model is skipped, has no network, or cannot be converted.
        SamplesError: the user's data cannot be used.
    """
    job = job_of(model, source, precision, settings)
    with tempfile.TemporaryDirectory(prefix="nnlite-calibration-") as folder:
        packed = None
        if calibration is not None and calibration_source is not None:
            packed = Path(folder, "samples.zip")
            pack(calibration, calibration_source, packed)
        calibrated = {"calibration": calibration and calibration.as_dict(), "calibration_file": packed}
        return answer_of("explain", job | calibrated)
