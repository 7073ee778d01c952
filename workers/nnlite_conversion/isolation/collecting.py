"""Collects what a child has left in its folder: its files, or copies of them, which then are the worker's."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from io import BufferedReader
from pathlib import Path
from typing import Final

from nnlite.errors import Failure, FailureClass
from nnlite.host.files import WRITE_BYTES, file_sha256
from nnlite.vocabulary import Stage
from nnlite_conversion import explanations
from nnlite_conversion.isolation.answer import evidence, failure_of
from nnlite_conversion.isolation.supervision import ChildSupervision
from nnlite_conversion.messages import Report, artifact_name, output_name
from nnlite_conversion.outcome import (
    ArtifactReport,
    ConversionOutcome,
    ConversionReport,
    ConvertedArtifact,
)

#: The attribute by which a file may name accounts that can write it.
_ACCESS_LIST: Final = "system.posix_acl_access"


def collect(report: Report, supervision: ChildSupervision, scratch: Path, workdir: Path) -> ConversionOutcome:
    """Move or copy the files of `report` into the caller's folder; compute their hashes and sizes.

    Raises:
        Failure: class `converter`: a file differs from the report; `infrastructure`: the disk is full.
    """
    with as_failures(supervision, workdir):
        artifacts = tuple(_collect_artifact(artifact, scratch, workdir) for artifact in report.artifacts)
    reported = {each.name: getattr(report, each.name) for each in fields(ConversionReport)}
    return ConversionOutcome(
        **reported,
        artifacts=artifacts,
        timings_ns=supervision.timings_ns,
        peak_rss_kb=supervision.peak_rss_kb,
    )


@contextmanager
def as_failures(supervision: ChildSupervision, workdir: Path) -> Iterator[None]:
    """Raise a `BadFile`, or that the disk of `workdir` is full, as the `Failure` that it is."""
    try:
        yield
    except BadFile as error:
        raise failure_of(supervision, str(error)) from error
    except OSError as error:
        if not explanations.is_full_disk(error):
            raise
        reason = f"no space left in {workdir}; free some and the work goes on"
        raise Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, reason, evidence(supervision)) from error


class BadFile(Exception):
    """A file that the child left is missing, or differs from its report."""


def _collect_artifact(artifact: ArtifactReport, scratch: Path, workdir: Path) -> ConvertedArtifact:
    name = artifact_name(artifact.precision, artifact.format)
    sha256, size_bytes = take_file(scratch / name, workdir / name)
    if size_bytes != artifact.size_bytes:
        raise BadFile(f"{name} has {size_bytes} bytes, but the child wrote {artifact.size_bytes}: truncated")
    outputs = []
    for index in range(len(artifact.outputs)):
        output = output_name(artifact.precision, index, artifact.format)
        copy_file(scratch / output, workdir / output)
        outputs.append(workdir / output)
    return ConvertedArtifact(
        **vars(artifact), path=workdir / name, sha256=sha256, reference_outputs=tuple(outputs)
    )


def take_file(source: Path, target: Path) -> tuple[str, int]:
    """Move a file that untrusted code wrote, or copy it where that is not enough; otherwise as `copy_file`.

    Artifacts are large, and a copy waits for the disk. A file is moved if it has one name and no process has
    it open for writing.
    """
    with _opened(source) as file:
        moved = _moved(file.fileno(), source, target)
    return (file_sha256(target), target.stat().st_size) if moved else copy_file(source, target)


def _opened(source: Path) -> BufferedReader:
    """Open a file that untrusted code wrote; raises as `copy_file`."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadFile(f"{source.name} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadFile(f"{source.name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _moved(descriptor: int, source: Path, target: Path) -> bool:
    """Give the opened file `source` to this account and move it, unless somebody could still change it."""
    status = os.fstat(descriptor)
    if status.st_nlink != 1:
        return False
    try:
        if _ACCESS_LIST in os.listxattr(descriptor):
            return False
        target.touch()  # has the owner, group and mode that a copy would have
        usual = target.stat()
        target.unlink()  # ext4 starts to write a file to the disk that replaces another
        os.fchown(descriptor, usual.st_uid, usual.st_gid)
        os.fchmod(descriptor, 0o600)
        # The kernel refuses this lease while the file is open for writing, or mapped so.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        source.rename(target)
        if os.path.samestat(target.lstat(), status):
            os.fchmod(descriptor, stat.S_IMODE(usual.st_mode))
            return True
        target.unlink()  # it is not the file that was opened
    except OSError:
        pass  # somebody has it open, another file system, one without leases, or another's file
    return False


def copy_file(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file that untrusted code wrote; return its SHA-256 and its size.

    The copy belongs to the caller and cannot be a link.

    Raises:
        BadFile: it cannot be read, or is no regular file.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with _opened(source) as original, target.open("wb") as copy:
        while chunk := original.read(WRITE_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
            copy.write(chunk)
    return digest.hexdigest(), size_bytes
