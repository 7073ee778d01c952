"""Copies the files of a conversion child, which untrusted code wrote, into the worker's own folder."""

import hashlib
import os
import stat
from pathlib import Path

from nnlite_conversion.messages import artifact_name, output_name
from nnlite_conversion.outcome import ArtifactReport, ConvertedArtifact


class BadFile(Exception):
    """A file that the child left differs from its report."""


def collect_artifact(artifact: ArtifactReport, scratch: Path, workdir: Path) -> ConvertedArtifact:
    """Copy the files of an artifact from the child's folder, and compute their hashes and sizes.

    Raises:
        BadFile: a file is missing, no regular file, or not as the child reported it.
        OSError: a copy cannot be written.
    """
    name = artifact_name(artifact.precision, artifact.format)
    sha256, size_bytes = _copy(scratch / name, workdir / name)
    if size_bytes != artifact.size_bytes:
        raise BadFile(f"{name} has {size_bytes} bytes, but the child wrote {artifact.size_bytes}: truncated")
    outputs = []
    for index in range(len(artifact.outputs)):
        output = output_name(artifact.precision, index, artifact.format)
        _copy(scratch / output, workdir / output)
        outputs.append(workdir / output)
    return ConvertedArtifact(
        **vars(artifact), path=workdir / name, sha256=sha256, reference_outputs=tuple(outputs)
    )


def _copy(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file that untrusted code wrote; return its SHA-256 and its size.

    The copy belongs to the caller and cannot be a link.
    """
    digest, size_bytes = hashlib.sha256(), 0
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadFile(f"{source.name} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as original, target.open("wb") as copy:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadFile(f"{source.name} is not a regular file")
        while chunk := original.read(1 << 20):
            digest.update(chunk)
            size_bytes += len(chunk)
            copy.write(chunk)
    return digest.hexdigest(), size_bytes
