"""The folder of one child: its own, where no other child can read or write, and gone when it is done."""

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
from nnlite_conversion.isolation.process_registry import own_folder
from nnlite_conversion.messages import model_file_name
from nnlite_conversion.outcome import ConversionJob


@contextmanager
def scratch_folder(folder: Path, uid: int | None) -> Iterator[tuple[Path, int | None]]:
    """Make the child's own folder; yield it and the account that the child may run as.

    It stands in `folder`, or, where an unprivileged account cannot pass through
    what is above that, in the system's temporary folder.
    """
    place = folder
    if uid is not None and not sandbox.reachable(folder.parent, uid):
        place = Path(tempfile.gettempdir())
        if not sandbox.reachable(place, uid):
            place, uid = folder, None
    with own_folder(place) as scratch:
        if uid is not None:
            os.chown(scratch, uid, uid)
            folder.chmod(0o711)  # to pass through, not to list
        yield scratch, uid


def with_files(job: ConversionJob, scratch: Path, uid: int | None) -> ConversionJob:
    """Bring what the child has to read into its folder: elsewhere its account may not read."""
    if job.model_file is not None:
        _bring(job.model_file, scratch / model_file_name(job.model), uid)
    if job.calibration_file is not None:
        job = replace(job, calibration_file=_bring(job.calibration_file, scratch / "calibration", uid))
    if job.fp32 is not None:
        known = _bring(job.fp32.path, scratch / "known.tflite", uid)
        job = replace(job, fp32=replace(job.fp32, path=known))
    return job


def _bring(file: Path, place: Path, uid: int | None) -> Path:
    """Copy a file to where its child may read it, and no other child; return `place`."""
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
