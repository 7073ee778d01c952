"""When a measuring process counts as hung: the protocol's own limits and some grace."""

from dataclasses import dataclass

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Stage


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Longest time for each stage, seconds; an inference already begun may end."""

    initialize_s: float
    warm_up_s: float
    run_s: float
    #: On top of what the protocol itself allows for warm-up and timed runs.
    grace_s: float

    @classmethod
    def of(cls, settings: MeasurementSettings) -> "Deadlines":
        """Take them from the settings."""
        return cls(
            initialize_s=settings.initialize_timeout_s,
            warm_up_s=settings.warmup_max_s,
            run_s=max(settings.max_s, settings.few_runs_max_s),
            grace_s=settings.grace_s,
        )

    def limit_s(self, stage: Stage, first_inference_s: float) -> float:
        """Return how long `stage` may last, given how long the first inference took."""
        if stage is Stage.INITIALIZE:
            return self.initialize_s
        stage_s = self.warm_up_s if stage is Stage.WARM_UP else self.run_s
        return stage_s + self.grace_s + first_inference_s
