"""Outputs of a device: their hashes for the report, and their bytes for the artifact store.

Most are byte for byte the host's, which the store has already.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from nnlite.artifacts.inputs import raw_bytes
from nnlite.errors import Failure, FailureClass
from nnlite.reports.schema import MeasuredOutput
from nnlite.vocabulary import Stage
from nnlite_benchmark.protocol.analysis.parity import Tensor


def measured_outputs(tensors: Sequence[Tensor], max_output_mb: float) -> tuple[MeasuredOutput, ...]:
    """Return what a measurement says of its outputs; those of more than `max_output_mb` are not kept."""
    return tuple(
        MeasuredOutput(
            dtype=tensor.dtype.name,
            shape=tensor.shape,
            size_bytes=tensor.nbytes,
            sha256=hashlib.sha256(raw_bytes(tensor)).hexdigest(),
            kept=tensor.nbytes <= max_output_mb * 2**20,
        )
        for tensor in tensors
    )


def write_outputs(outputs: Sequence[MeasuredOutput], tensors: Sequence[Tensor], folder: Path) -> None:
    """Write those outputs that are kept, each to a file named by its hash.

    Raises:
        Failure: the folder cannot be written.
    """
    try:
        for output, tensor in zip(outputs, tensors, strict=True):
            if output.kept:
                (folder / output.sha256).write_bytes(raw_bytes(tensor))
    except OSError as error:
        what = f"cannot write the device's outputs to {folder}: {error.strerror}"
        reason = f"{what}; free space there or set TMPDIR"
        raise Failure(FailureClass.INFRASTRUCTURE, Stage.STORE, reason) from error
