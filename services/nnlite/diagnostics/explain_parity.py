"""Explains an artifact's parity: has a process of the conversion worker compare it operator by operator."""

import tempfile
from pathlib import Path
from typing import Any

from nnlite.artifacts.calibration import Calibration, pack
from nnlite.catalog.model import CatalogModel, ModelSource
from nnlite.diagnostics.single_job import answer_of, job_of
from nnlite.settings import Settings
from nnlite.vocabulary import Precision

Explanation = dict[str, Any]


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
