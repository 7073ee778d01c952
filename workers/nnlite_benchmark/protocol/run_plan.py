"""The plan of one run of a measuring process, the same for every device, and what carries it out."""

from dataclasses import dataclass
from typing import Protocol

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Mode, Stage
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.protocol.analysis.measurement import Run
from nnlite_benchmark.protocol.gating import Gate
from nnlite_benchmark.protocol.runs import Bounds


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What one measuring process runs, and how."""

    job: BenchmarkJob
    backend: Backend
    #: Of warm-up and timed runs.
    bounds: Bounds
    #: Reported instead of the actual stages; None: report those.
    stage: Stage | None = None
    #: Of the timed runs; None, or a device that cannot: every run counts.
    gate: Gate | None = None
    #: Seconds of runs without pauses, which are reported in bins; 0: timed runs.
    continuous_s: float = 0.0
    #: Nanoseconds of the canary before, of a canary that may end early (`canary_runs`), which a device may
    #: ignore; 0: there is none. None: it is no canary.
    canary_before_ns: int | None = None
    #: Hexadecimal; name under which the app's GPU delegate keeps its compiled programs. Empty: it keeps none.
    programs: str = ""

    def limits(self, settings: MeasurementSettings) -> MeasurementSettings:
        """Return the settings in force during the run."""
        if self.continuous_s:
            return pass_limits(self.job, settings, self.continuous_s)
        return self.job.in_force(settings)


class RunOnce(Protocol):
    """Runs one measuring process."""

    def __call__(self, plan: RunPlan) -> Run:
        """Carry out a plan and return its results, including a refusal by the runtime.

        Raises:
            DeviceFailure: the process or the device failed.
            Stopped: the worker was asked to stop.
        """


def pass_limits(job: BenchmarkJob, settings: MeasurementSettings, seconds: float) -> MeasurementSettings:
    """Return the settings of a pass of continuous inference, with at most a second of warm-up."""
    return job.in_force(settings).in_mode(Mode.QUICK).model_copy(update={"max_s": max(seconds, 1.0)})
