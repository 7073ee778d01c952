"""The `Device` interface: the host, an emulator or a phone, as the benchmark worker uses it.

The worker prepares a device, runs jobs on it one at a time, recovers it step by
step and closes it; it depends on this interface only.
"""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nnlite.errors import Failure, FailureClass
from nnlite.reports.schema import DeviceContext, MeasurementReport, Profile, RunReport
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, DeviceKind, Fault, Mode, ParityState, Precision, Stage
from nnlite_benchmark.protocol.fast_speed import FastSpeeds

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    """One artifact to be measured; the caller has fetched the file and verified its hash."""

    artifact: Path
    artifact_sha256: str
    model_name: str
    precision: Precision
    inputs: tuple[InputSpec, ...]
    #: Seed for `nnlite.artifacts.inputs.artifact_inputs`.
    seed: int
    #: The host's outputs for that input, one raw little-endian file each; None: device parity is not checked.
    expected_outputs: tuple[Path, ...] | None = None
    #: Quantization step of each output that is a dequantized integer; None: not quantized. Empty: unknown.
    output_steps: tuple[float | None, ...] = ()
    #: Whether the artifact's outputs are PyTorch's; anything but `ok` annotates the measurements.
    artifact_parity: ParityState = ParityState.OK
    #: Decides the bounds of warm-up and timed runs.
    mode: Mode = Mode.STANDARD
    #: Where the device's outputs are written, for the caller to store; None: nowhere.
    outputs_folder: Path | None = None
    #: Threads of the CPU; None: as the worker is set.
    threads: int | None = None
    #: Measure the times of its operators too.
    profile: bool = False
    #: Choice of cores that the campaign asks for, canonical; empty: as the scheduler likes.
    asked_cores: str = ""
    #: What it means on the device that measures; empty: any that it measures on.
    cores: tuple[int, ...] = ()
    #: Passes after the measurement, and their seconds of continuous inference.
    passes: Mapping[Stage, int] = field(default_factory=dict)
    #: For each input: samples in place of the seeded one, (samples, *shape); empty: that one is run.
    samples: "tuple[NDArray[Any], ...]" = ()

    def in_force(self, settings: MeasurementSettings) -> MeasurementSettings:
        """Return the settings with the bounds of the job's mode and its number of threads."""
        return settings.in_mode(self.mode).model_copy(update={"threads": self.threads or settings.threads})


class RuntimeRefusal(Failure):
    """The runtime or a delegate rejected the artifact: final for the backend, recorded with `report`."""

    def __init__(
        self, stage: Stage, reason: str, report: MeasurementReport, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(FailureClass.RUNTIME, stage, reason, details)
        #: A measurement with the error and without latency.
        self.report = report


class DeviceFailure(Failure):
    """The device failed: failure class `device`, with the fault that becomes the incident's kind."""

    def __init__(
        self, fault: Fault, stage: Stage, reason: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(FailureClass.DEVICE, stage, reason, {"fault": fault.value, **(details or {})})
        #: Kind of the incident.
        self.fault = fault


@dataclass(frozen=True, kw_only=True)
class FaultOccurrence:
    """A fault of the device, and the benchmark during which it occurred; None: between benchmarks."""

    failure: DeviceFailure
    benchmark_id: uuid.UUID | None


@dataclass(frozen=True, kw_only=True)
class RecoveryStep:
    """One step of a device's recovery; a readiness check follows it."""

    #: As recorded in incidents.
    name: str
    #: Raises DeviceFailure if it fails, Stopped when the worker is asked to stop.
    run: Callable[[], None]


class Device(Protocol):
    """One emulator, one phone, or the host."""

    @property
    def name(self) -> str:
        """Unique among all devices of an installation."""

    @property
    def kind(self) -> DeviceKind:
        """Host, emulator or phone."""

    @property
    def pool(self) -> str:
        """Name of the set of interchangeable devices that it belongs to."""

    @property
    def canary_ns(self) -> int | None:
        """Last duration of the canary, 25th percentile; None: it has not run."""

    @property
    def speeds(self) -> FastSpeeds:
        """What is known of its fast speed; changes with every gated run."""

    def prepare(self) -> None:
        """Start the device's processes and wait until it is ready, including a correct canary.

        Raises:
            DeviceFailure: it is not ready within its deadlines.
            Stopped: the worker was asked to stop.
        """

    def check(self) -> None:
        """Wait until the device is ready, without starting anything; raises as `prepare`."""

    def recovery_steps(self) -> Sequence[RecoveryStep]:
        """Return the device's recovery steps, least disruptive first; `check` follows each."""

    def pause_reason(self) -> str | None:
        """Return why it should take no work now (such as a warm phone), or None."""

    def needs_user(self, fault: Fault) -> bool:
        """Return whether only a person can end `fault` (an unplugged phone): wait instead of recovering."""

    def highest_khz(self, stop: threading.Event) -> Mapping[int, int | None]:
        """Return the highest frequency of each core that may measure; None: unknown. Raises as `run`."""

    def context(self) -> DeviceContext:
        """Return the properties that are constant until the device is restarted."""

    def loaded(self, job: BenchmarkJob, stop: threading.Event) -> AbstractContextManager[None]:
        """Copy the job's files to the device, and remove them afterwards; raises as `run`."""

    def run(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> MeasurementReport:
        """Measure one artifact on one backend, with canaries and noise isolation; call it inside `loaded`.

        Raises:
            RuntimeRefusal: the runtime rejected the artifact; its `report` is the measurement to record.
            DeviceFailure: the measuring process or the device crashed, hung or sent invalid data.
            Stopped: `stop` was set; everything that this call started has ended.
        """

    def profile(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> Profile:
        """Run the artifact once more with the runtime's profiler on; call it inside `loaded`, after `run`.

        What cannot be profiled is a profile with an error. Raises Stopped when `stop` is set.
        """

    def continuous(
        self, job: BenchmarkJob, backend: Backend, stage: Stage, seconds: int, *, stop: threading.Event
    ) -> RunReport:
        """Run the artifact without pauses, with noise isolation; call it inside `loaded`, after `run`.

        Args:
            stage: what it is for: `sustained`, `energy` (with a meter) or `counters` (of the processor).
            seconds: that it lasts.

        Returns:
            What was measured, or the error with which the device failed. Raises Stopped when `stop` is set.
        """

    def classify(self, job: BenchmarkJob, backend: Backend, *, stop: threading.Event) -> "NDArray[Any]":
        """Run each of the job's samples once, untimed; call it inside `loaded`; raises as `run`.

        Returns:
            Their first outputs, in the artifact's own type: (samples, *shape).
        """

    def close(self) -> None:
        """Stop everything that was started; the object cannot be used afterwards."""
