"""The seam between the benchmark task and whatever it measures on.

A device is the host itself, an emulator or a phone. The worker prepares it,
asks what it is, runs jobs on it one at a time, heals it step by step and
closes it; it never looks behind this protocol.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nnlite.errors import Failure, FailureClass, Stopped
from nnlite.reports.schema import DeviceContext, MeasurementReport
from nnlite.vocabulary import Backend, DeviceKind, Fault, Precision, Stage

__all__ = [
    "BenchmarkJob",
    "Device",
    "DeviceFailure",
    "InputSpec",
    "RecoveryStep",
    "RuntimeRefusal",
    "Stopped",
]


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
    #: Of `nnlite.artifacts.inputs.artifact_inputs`.
    seed: int
    #: The host's outputs for that input, one raw little-endian file each; None: device parity is not checked.
    expected_outputs: tuple[Path, ...] | None = None
    #: How far two values of each output are apart that differ by one step of an integer inside the artifact;
    #: None: it is no dequantized integer. Empty: not known.
    output_steps: tuple[float | None, ...] = ()
    #: False marks the measurements: the artifact's outputs are off from PyTorch's; None: not known.
    artifact_parity_ok: bool | None = True


class RuntimeRefusal(Failure):
    """The runtime or a delegate refuses the artifact: final for the backend, recorded with `report`."""

    def __init__(
        self, stage: Stage, reason: str, report: MeasurementReport, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(FailureClass.RUNTIME, stage, reason, details)
        #: A measurement with the error and without a duration.
        self.report = report


class DeviceFailure(Failure):
    """The device misbehaved: class `device`, and what kind of incident it is."""

    def __init__(
        self, fault: Fault, stage: Stage, reason: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(FailureClass.DEVICE, stage, reason, {"fault": fault.value, **(details or {})})
        #: The kind of incident that this is.
        self.fault = fault


@dataclass(frozen=True, kw_only=True)
class RecoveryStep:
    """One recovery step: what to do before the device is checked again."""

    #: As it stands in incidents.
    name: str
    #: Raises DeviceFailure when it does not succeed, Stopped when the worker is told to stop.
    climb: Callable[[], None]


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

    @property
    def canary_ns(self) -> int | None:
        """What the canary took last, 25th percentile; None: it has not run."""
        ...

    def prepare(self) -> None:
        """Start what there is to start and make the device ready, the right canary included.

        Raises:
            DeviceFailure: it cannot be made ready within its deadlines.
            Stopped: the worker was told to stop.
        """
        ...

    def check(self) -> None:
        """Return when the device is ready; raises as `prepare` does, and starts nothing."""
        ...

    def recovery_steps(self) -> Sequence[RecoveryStep]:
        """Return what may heal it, the mildest first; readiness is checked after each."""
        ...

    def rest_reason(self) -> str | None:
        """Return why it should take no work just now (a warm phone), or None."""
        ...

    def is_away(self, fault: Fault) -> bool:
        """Whether after `fault` the device is to be waited for, not healed (an unplugged phone)."""
        ...

    def context(self) -> DeviceContext:
        """Return what stays the same until the device is started anew."""
        ...

    def loaded(self, job: BenchmarkJob, stop: threading.Event) -> AbstractContextManager[None]:
        """Bring what the job needs to the device, and take it away again; raises as `run` does."""
        ...

    def run(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> MeasurementReport:
        """Measure one artifact on one backend, canaries and quiet included; for use inside `loaded`.

        Raises:
            RuntimeRefusal: the runtime refuses the artifact; its `report` is the measurement to record.
            DeviceFailure: the measuring process died, hung or wrote nonsense, or the device did.
            Stopped: `stop` was set; nothing that this call started runs any more.
        """
        ...

    def close(self) -> None:
        """End everything that the device object started; it is of no use afterwards."""
        ...
