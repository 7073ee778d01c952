"""The seam between the benchmark task and whatever it measures on.

A device is the host itself, later an emulator or a phone. The task prepares
it, asks what it is, runs jobs on it one at a time and closes it; it never
looks behind this protocol.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nnlite.failures import Failure, FailureClass
from nnlite.quiet import Stopped
from nnlite.results.report import DeviceContext, MeasurementReport
from nnlite.vocabulary import Backend, DeviceKind, Precision, Stage

__all__ = ["BenchmarkJob", "Device", "InputSpec", "RuntimeRefusal", "Stopped"]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """One input tensor of an artifact."""

    name: str
    shape: tuple[int, ...]
    #: NumPy name; the artifact's own type, so int8 for a full-integer artifact.
    dtype: str
    #: (scale, zero point) of an integer input: value = scale x (integer - zero point).
    quantization: tuple[float, int] | None = None


@dataclass(frozen=True, kw_only=True)
class BenchmarkJob:
    """One artifact to be measured; its file was fetched and its hash checked by the caller."""

    artifact: Path
    artifact_sha256: str
    model_name: str
    precision: Precision
    inputs: tuple[InputSpec, ...]
    #: Of `nnlite.inputs.seeded_input`, for every input.
    seed: int
    #: The host's outputs for that input, one raw little-endian file each; None: device parity is not checked.
    expected_outputs: tuple[Path, ...] | None = None
    #: False marks the measurements: the artifact's outputs are off from PyTorch's.
    artifact_parity_ok: bool = True


class RuntimeRefusal(Failure):
    """The runtime or a delegate refuses the artifact: final for the backend, recorded with `report`."""

    def __init__(
        self, stage: Stage, reason: str, report: MeasurementReport, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(FailureClass.RUNTIME, stage, reason, details)
        #: A measurement with the error and without a duration.
        self.report = report


class Device(Protocol):
    """One emulator, one phone, or the host."""

    @property
    def name(self) -> str:
        """Unique among all devices of an installation."""
        ...

    @property
    def kind(self) -> DeviceKind:
        """What kind of machine it is."""
        ...

    @property
    def pool(self) -> str:
        """Name of the set of interchangeable devices that it belongs to."""
        ...

    def prepare(self) -> None:
        """Make the device ready: the canary gives the right output.

        Raises:
            Failure: class `device`; the device cannot be made ready within its deadlines.
        """
        ...

    def context(self) -> DeviceContext:
        """Return what stays the same until the device is started anew."""
        ...

    def run(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> MeasurementReport:
        """Measure one artifact on one backend, canaries and quiet included.

        Raises:
            RuntimeRefusal: the runtime refuses the artifact; its `report` is the measurement to record.
            Failure: class `device`; the measuring process died, hung or wrote nonsense.
            Stopped: `stop` was set; nothing that this call started runs any more.
        """
        ...

    def close(self) -> None:
        """End everything that the device object started; it is of no use afterwards."""
        ...
