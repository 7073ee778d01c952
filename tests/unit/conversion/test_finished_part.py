"""What is collected of a child that ended: nothing is forgotten, and nothing forged is believed."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnlite.catalog.model import ModelSpec
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import ArtifactFormat, Precision, Stage
from nnlite_conversion.isolation import precisions
from nnlite_conversion.isolation.precisions import finished_part
from nnlite_conversion.isolation.supervision import ExitStatus
from nnlite_conversion.messages import PrecisionBegun, Report
from nnlite_conversion.outcome import ConversionJob, RefusedPrecision

SPEC = ModelSpec(name="net.py", code="", transform_code=None)
INT8 = PrecisionBegun(precision=Precision.INT8, done=Report(input_shape=(1, 3, 8, 8)))


def job(*wanted: Precision, formats: tuple[ArtifactFormat, ...] = ()) -> ConversionJob:
    return ConversionJob(model=SPEC, precisions=wanted, formats=formats, max_parameters=1)


def ended(**known: Any) -> Any:
    """A child that has ended, as its supervision knows it."""
    inbox = {"answer": None, "begun": None, "garbage": None, "stage": Stage.QUANTIZE}
    inbox |= {name: known.pop(name) for name in [*known] if name in inbox}
    child = {"exit_status": ExitStatus(exit=0), "exceeded": None, "peak_rss_kb": 1, "timings_ns": {}}
    return SimpleNamespace(inbox=SimpleNamespace(**inbox), stderr_tail=lambda: "", **(child | known))


def test_the_end_of_all_time_refuses_other_formats_too(tmp_path):
    limit = Failure(FailureClass.CONVERTER, Stage.QUANTIZE, "too long", {"limit": "absolute_timeout_s"})
    child = ended(begun=INT8, exceeded=limit, exit_status=None)
    (tmp_path / "fp32.tflite").write_bytes(b"made before")
    (folder := tmp_path / "worker").mkdir()

    asked = job(Precision.INT8, Precision.FP16, formats=(ArtifactFormat.ONNX,))
    outcome, left = finished_part(asked, child, tmp_path, folder)

    assert left is None
    assert [(each.precision, each.format) for each in outcome.refused] == [
        (Precision.INT8, ArtifactFormat.TFLITE),
        (Precision.FP16, ArtifactFormat.TFLITE),
        (Precision.FP32, ArtifactFormat.ONNX),
    ]


@pytest.mark.parametrize("artifact_format", ArtifactFormat)
def test_a_report_of_what_was_not_asked_for_is_a_failure(tmp_path, artifact_format):
    forged = RefusedPrecision(
        precision=Precision.FP16,
        format=artifact_format,
        stage=Stage.QUANTIZE,
        reason="no",
        failure_class=FailureClass.MODEL,
    )

    with pytest.raises(Failure, match="invalid message") as failure:
        finished_part(
            job(Precision.INT8),
            ended(answer=Report(input_shape=(1, 3, 8, 8), refused=(forged,))),
            tmp_path,
            tmp_path,
        )

    assert failure.value.failure_class is FailureClass.CONVERTER
    assert f"fp16 as {artifact_format}" in failure.value.details["garbage"]


def test_a_full_disk_between_two_children_is_the_machines(tmp_path, monkeypatch):
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(precisions, "copy_file", full)
    crashed = ended(begun=INT8, exit_status=ExitStatus(signal=11))

    with pytest.raises(Failure, match="no space left") as failure:
        finished_part(job(Precision.INT8, Precision.FP16), crashed, tmp_path, tmp_path)

    assert failure.value.failure_class is FailureClass.INFRASTRUCTURE
