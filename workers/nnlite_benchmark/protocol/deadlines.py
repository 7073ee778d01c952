"""Deadlines of a run's stages: the protocol's limits plus a grace period."""

from dataclasses import dataclass

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Stage


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Time limit of each stage, seconds; an inference that has begun may finish."""

    initialize_s: float
    warm_up_s: float
    run_s: float
    #: Added to the protocol's limits of warm-up and timed runs.
    grace_s: float

    @classmethod
    def of(cls, settings: MeasurementSettings) -> "Deadlines":
        """Return the deadlines that the settings define."""
        return cls(
            initialize_s=settings.initialize_timeout_s,
            warm_up_s=settings.warmup_max_s,
            run_s=max(settings.max_s, settings.few_runs_max_s),
            grace_s=settings.grace_s,
        )

    def limit_s(self, stage: Stage, first_inference_s: float) -> float:
        """Return the time limit of `stage`, given the duration of the first inference."""
        if stage is Stage.INITIALIZE:
            return self.initialize_s
        stage_s = self.warm_up_s if stage is Stage.WARM_UP else self.run_s
        return stage_s + self.grace_s + first_inference_s
