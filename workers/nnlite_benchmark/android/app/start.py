"""What a run of the app is started with."""

from dataclasses import dataclass

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Stage
from nnlite_benchmark.device import BenchmarkJob
from nnlite_benchmark.protocol.gating import Gate
from nnlite_benchmark.protocol.passes import pass_limits
from nnlite_benchmark.protocol.runs import Bounds


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run of the app is started with, whatever way its files come back."""

    job: BenchmarkJob
    backend: Backend
    bounds: Bounds
    #: Reported instead of the app's own; None: report those.
    stage: Stage | None
    gate: Gate | None = None
    #: As in `RunRequest`.
    continuous_s: float = 0.0
    programs: str = ""

    def limits(self, settings: MeasurementSettings) -> MeasurementSettings:
        """Return the settings with the bounds of this run."""
        if self.continuous_s:
            return pass_limits(self.job, settings, self.continuous_s)
        return self.job.in_force(settings)
