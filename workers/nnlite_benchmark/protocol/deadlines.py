"""Deadlines of a run's stages: the protocol's limits plus a grace period."""

from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Stage


def stage_limit_s(settings: MeasurementSettings, stage: Stage, first_inference_s: float) -> float:
    """Return the time limit of `stage`; an inference that has begun may finish."""
    if stage is Stage.INITIALIZE:
        return settings.initialize_timeout_s
    run_s = settings.gate_learn_s + max(settings.max_s, settings.few_runs_max_s)
    stage_s = settings.warmup_max_s if stage is Stage.WARM_UP else run_s
    return stage_s + settings.grace_s + first_inference_s
