"""The private folder of a child, which no other child can read or write; removed when the child has ended."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion import explanations
from nnlite_conversion.isolation import sandbox
from nnlite_conversion.isolation.process_registry import job_dir
from nnlite_conversion.messages import artifact_name, model_file_name
from nnlite_conversion.outcome import ConversionJob


@contextmanager
def scratch_folder(folder: Path, uid: int | None) -> Iterator[tuple[Path, int | None]]:
    """Create the child's private folder; yield it and the account that the child can run as.

    It is created in `folder`, or in the system's temporary folder where an unprivileged account may not
    traverse the parents of `folder`. If it may not traverse either, the child runs as the worker's own
    account (None).
    """
    place = folder
    if uid is not None and not sandbox.reachable(folder.parent, uid):
        place = Path(tempfile.gettempdir())
        if not sandbox.reachable(place, uid):
            place, uid = folder, None
    with job_dir(place) as scratch:
        if uid is not None:
            os.chown(scratch, uid, uid)
            folder.chmod(0o711)  # to traverse, not to list
        yield scratch, uid


def with_files(job: ConversionJob, scratch: Path, uid: int | None) -> ConversionJob:
    """Copy the job's files into the child's folder, because its account may not read them elsewhere."""
    if job.model_file is not None:
        _copy(job.model_file, scratch / model_file_name(job.model), uid)
    if job.calibration_file is not None:
        job = replace(job, calibration_file=_copy(job.calibration_file, scratch / "calibration", uid))
    if job.fp32 is not None:
        fp32 = _copy(job.fp32.path, scratch / "known.tflite", uid)
        job = replace(job, fp32=replace(job.fp32, path=fp32))
    if job.evaluation is not None:
        files = {
            precision: _copy(file, scratch / artifact_name(precision), uid)
            for precision, file in job.evaluation.artifacts.items()
        }
        samples = _copy(job.evaluation.file, scratch / "evaluation.zip", uid)
        job = replace(job, evaluation=replace(job.evaluation, file=samples, artifacts=files))
    return job


def _copy(file: Path, place: Path, uid: int | None) -> Path:
    """Copy a file to where only its child may read it; return `place`."""
    try:
        shutil.copyfile(file, place)
    except OSError as error:
        if not explanations.is_full_disk(error):
            raise
        reason = f"no space left in {place.parent}; free some and the work goes on"
        raise Failure(FailureClass.INFRASTRUCTURE, Stage.LOAD, reason) from error
    if uid is not None:
        os.chown(place, uid, uid)
    return place
